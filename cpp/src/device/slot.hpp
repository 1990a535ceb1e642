// The memory of a picture on its way: pinned memory of the host, and its mirror on the device.
#pragma once

#include "tensor.hpp"

namespace odise {

// Pinned memory that is reused, and grows.
class Pinned {
  public:
    explicit Pinned(Device& device) : device_(device) {}
    Pinned(const Pinned&) = delete;
    Pinned& operator=(const Pinned&) = delete;
    ~Pinned() { close(); }

    unsigned char* reserve(std::size_t size) {
        if (size > size_) {
            close();
            memory_ = device_.allocate_pinned(size);
            size_ = size;
        }
        return static_cast<unsigned char*>(memory_);
    }

  private:
    Device& device_;
    void* memory_ = nullptr;
    std::size_t size_ = 0;

    void close() noexcept {
        if (size_ > 0) device_.free_pinned(memory_);
        size_ = 0;
    }
};

// What goes up and what comes down are one copy each.
class Slot {
  public:
    explicit Slot(Device& device)
        : device_(device), up_(device), down_(device), pinned_up_(device), pinned_down_(device) {}

    // Bytes of its device memory.
    std::size_t size() const { return up_.size() + down_.size(); }
    // How often its device memory moved.
    int moved() const { return moved_; }
    // Tensors of what goes up and comes down. Throws DeviceMemoryError.
    DeviceTensors reserve(const Packed& takes, const Packed& gives);
    // Queues the upload of arrays. Tensors without an array are made on the device.
    void upload(const Packed& takes, const Arrays& arrays);
    // Queues the download of all tensors up to the first that stays. Those that stay are the last.
    void download(const Packed& gives, const std::vector<std::string>& stay);
    // Copies of what was downloaded, after the device was waited for.
    Arrays read(const Packed& gives, const std::vector<std::string>& stay);

  private:
    Device& device_;
    Buffer up_, down_;
    Pinned pinned_up_, pinned_down_;
    int moved_ = 0;
};

}  // namespace odise

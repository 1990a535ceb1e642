// A GPU as this library uses it: memory, copies, one stream, and recorded graphs. CUDA is one (cuda.cpp), the
// stand-in of the tests another.
#pragma once

#include <memory>
#include <string>

#include "error.hpp"

namespace odise {

// Of memory of a device. 0: none.
using Address = std::uint64_t;
// A stream or a recorded graph, as CUDA's handles are numbers.
using Handle = std::uintptr_t;

struct DeviceInfo {
    std::string name;
    std::string compute_capability;  // "8.9"
    std::string driver;              // the newest CUDA version that its driver supports: "13.0"
};

// The device has too little memory.
class DeviceMemoryError : public Error {
  public:
    explicit DeviceMemoryError(const std::string& message, const std::string& what_to_do =
                                                               "close what else uses the GPU, take a smaller picture, "
                                                               "or open the bundle with max_windows = 1")
        : Error(ODISE_MEMORY_ERROR, message, what_to_do) {}
};

// One GPU. A segmenter runs one picture at a time, so one stream does everything, in order. Whatever is called
// "queued" has happened when `synchronize` returns. Methods throw BackendError, and are called while the device is
// the thread's current one, see Current.
class Device {
  public:
    Device() = default;
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    virtual ~Device() = default;

    virtual const DeviceInfo& info() const = 0;
    // Its index among the GPUs that CUDA sees.
    virtual int index() const = 0;
    // The stream that everything is queued on.
    virtual Handle stream() const = 0;
    // Makes it the thread's current GPU, and returns the former one for `restore`.
    virtual int make_current() = 0;
    virtual void restore(int former) noexcept = 0;

    // Bytes that nobody has allocated.
    virtual std::size_t free_memory() = 0;
    // Aligned to 256 bytes. Throws DeviceMemoryError.
    virtual Address allocate(std::size_t size) = 0;
    // No queued work may use it. It waits for all other work of the GPU.
    virtual void free(Address address) noexcept = 0;
    // Memory of the host that is copied without a detour.
    virtual void* allocate_pinned(std::size_t size) = 0;
    virtual void free_pinned(void* memory) noexcept = 0;

    // Queued copies. Memory of the host must live, and not change, until they have happened.
    virtual void upload(Address target, const void* source, std::size_t size) = 0;
    virtual void download(void* target, Address source, std::size_t size) = 0;
    virtual void copy(Address target, Address source, std::size_t size) = 0;
    // Rows of `row` bytes. Pitch: bytes from one row to the next.
    virtual void copy_rows(Address target, std::size_t target_pitch, Address source, std::size_t source_pitch,
                           std::size_t row, std::size_t rows) = 0;
    // Zeros.
    virtual void clear(Address address, std::size_t size) = 0;
    // Waits for everything. Errors of what was queued are thrown here.
    virtual void synchronize() = 0;

    // The index of the GPU whose memory this is. -1: it is no memory of a GPU.
    virtual int owner_of(Address address) = 0;
    // What is queued from now on waits for what another stream, of whatever library, has to do now.
    virtual void follow(Handle stream) = 0;

    // What is queued from now on is recorded, and does not run.
    virtual void begin_recording() = 0;
    // `host_allowed`: whether copies from the host, and functions that it runs, may be part of it.
    // Throws BackendError if something was queued that cannot be recorded. The stream can be used again.
    virtual Handle end_recording(bool host_allowed) = 0;
    virtual void launch(Handle graph) = 0;
    virtual void free_graph(Handle graph) noexcept = 0;
};

// CUDA has a current GPU per thread, which belongs to the program. It is another one only while this lives.
class Current {
  public:
    explicit Current(Device& device) : device_(device), former_(device.make_current()) {}
    Current(const Current&) = delete;
    Current& operator=(const Current&) = delete;
    ~Current() { device_.restore(former_); }

  private:
    Device& device_;
    int former_;
};

// Memory of a device that lives as long as somebody holds it, whatever was closed before.
class DeviceMemory {
  public:
    DeviceMemory(std::shared_ptr<Device> device, std::size_t size)
        : device_(std::move(device)), address_(device_->allocate(size)) {}
    DeviceMemory(const DeviceMemory&) = delete;
    DeviceMemory& operator=(const DeviceMemory&) = delete;
    ~DeviceMemory() {
        try {
            const Current current(*device_);
            device_->free(address_);
        } catch (...) {
            // At the end of a process the driver may be gone, and all its memory with it.
        }
    }

    Address address() const { return address_; }

  private:
    std::shared_ptr<Device> device_;
    Address address_;
};

// Device memory that is reused. It grows when a call needs more.
class Buffer {
  public:
    explicit Buffer(Device& device) : device_(device) {}
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() { close(); }

    std::size_t size() const { return size_; }

    // The address of at least so many bytes. When it grows, addresses of earlier calls end.
    // Throws DeviceMemoryError. The buffer is empty then.
    Address reserve(std::size_t size) {
        if (size <= size_) return address_;
        // Queued work may still use the old memory.
        if (size_ > 0) device_.synchronize();
        close();
        address_ = device_.allocate(size);
        size_ = size;
        return address_;
    }

    // No queued work may use it.
    void close() noexcept {
        if (size_ > 0) device_.free(address_);
        size_ = 0, address_ = 0;
    }

  private:
    Device& device_;
    std::size_t size_ = 0;
    Address address_ = 0;
};

}  // namespace odise

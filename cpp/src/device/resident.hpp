// What stays on the device for many pictures: the vectors of a size, and the tables of a vocabulary.
#pragma once

#include <atomic>

#include "recent.hpp"
#include "tensor.hpp"

namespace odise {

// Arrays that are uploaded once.
class Resident {
  public:
    // Queues the upload. Throws DeviceMemoryError.
    Resident(Device& device, Arrays arrays) : device_(device), arrays_(std::move(arrays)), memory_(device) {
        static std::atomic<std::uint64_t> made{0};
        serial_ = ++made;
        Packed packed;
        for (const auto& [name, array] : arrays_) packed.add(name, array.dtype, array.shape);
        tensors_ = packed.at(memory_.reserve(std::max<std::size_t>(packed.bytes(), 1)));
        for (const auto& [name, array] : arrays_) {
            if (array.bytes() > 0) device_.upload(tensors_.at(name).address, array.data(), array.bytes());
        }
    }

    const DeviceTensors& tensors() const { return tensors_; }
    // No other one of this process has it.
    std::uint64_t serial() const { return serial_; }
    // The upload has happened: the arrays of the host are not needed any more.
    void arrived() { arrays_.clear(); }

  private:
    Device& device_;
    Arrays arrays_;
    Buffer memory_;
    DeviceTensors tensors_;
    std::uint64_t serial_ = 0;
};

using Residents = Recent<std::unique_ptr<Resident>>;

}  // namespace odise

// Tensors in the memory of a device.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "array.hpp"
#include "device.hpp"

namespace odise {

// Addresses of tensors are multiples of this: TensorRT asks for it.
constexpr std::size_t alignment = 256;

// The room of so many bytes: at least one multiple of the alignment.
inline std::size_t aligned(std::size_t size) {
    return (std::max<std::size_t>(size, 1) + alignment - 1) / alignment * alignment;
}

inline std::size_t bytes_of(Dtype dtype, const Shape& shape) {
    std::size_t size = bytes_of(dtype);
    for (const std::int64_t one : shape) size *= static_cast<std::size_t>(one);
    return size;
}

// C-contiguous.
struct DeviceTensor {
    Address address = 0;
    Dtype dtype = Dtype::float32;
    Shape shape;

    std::size_t bytes() const { return bytes_of(dtype, shape); }

    // Elements `start` to `stop` of the first axis, in the same memory.
    DeviceTensor part(std::int64_t start, std::int64_t stop) const {
        DeviceTensor tensor = *this;
        tensor.shape[0] = 1;
        tensor.address += tensor.bytes() * static_cast<std::size_t>(start);
        tensor.shape[0] = stop - start;
        return tensor;
    }
};

using DeviceTensors = std::map<std::string, DeviceTensor>;
using Shapes = std::map<std::string, Shape>;

inline Shapes shapes_of(const DeviceTensors& tensors) {
    Shapes shapes;
    for (const auto& [name, tensor] : tensors) shapes[name] = tensor.shape;
    return shapes;
}

// Tensors in one piece of memory, each at an aligned place, in a given order.
class Packed {
  public:
    void add(const std::string& name, Dtype dtype, const Shape& shape) {
        tensors_.emplace_back(name, DeviceTensor{bytes_, dtype, shape});
        bytes_ += aligned(tensors_.back().second.bytes());
    }

    std::size_t bytes() const { return bytes_; }
    // Names with tensors, whose addresses count from the beginning of the memory.
    const std::vector<std::pair<std::string, DeviceTensor>>& tensors() const { return tensors_; }

    DeviceTensors at(Address address) const {
        DeviceTensors found;
        for (auto [name, tensor] : tensors_) {
            tensor.address += address;
            found[name] = std::move(tensor);
        }
        return found;
    }

  private:
    std::vector<std::pair<std::string, DeviceTensor>> tensors_;
    std::size_t bytes_ = 0;
};

}  // namespace odise

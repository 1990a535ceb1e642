#include "slot.hpp"

#include <algorithm>
#include <cstring>

namespace odise {

namespace {

bool stays(const std::vector<std::string>& stay, const std::string& name) {
    return std::find(stay.begin(), stay.end(), name) != stay.end();
}

}  // namespace

DeviceTensors Slot::reserve(const Packed& takes, const Packed& gives) {
    const bool grows = gives.bytes() > down_.size();
    if (grows || takes.bytes() > up_.size()) ++moved_;
    DeviceTensors tensors = takes.at(up_.reserve(std::max<std::size_t>(takes.bytes(), 1)));
    const Address down = down_.reserve(std::max<std::size_t>(gives.bytes(), 1));
    // One copy brings all tensors, and what lies between them.
    if (grows) device_.clear(down, gives.bytes());
    tensors.merge(gives.at(down));
    pinned_up_.reserve(std::max<std::size_t>(takes.bytes(), 1));
    pinned_down_.reserve(std::max<std::size_t>(gives.bytes(), 1));
    return tensors;
}

void Slot::upload(const Packed& takes, const Arrays& arrays) {
    unsigned char* memory = pinned_up_.reserve(takes.bytes());
    std::size_t size = 0;
    for (const auto& [name, tensor] : takes.tensors()) {
        const auto array = arrays.find(name);
        if (array == arrays.end()) continue;
        std::memcpy(memory + tensor.address, array->second.data(), tensor.bytes());
        size = std::max(size, static_cast<std::size_t>(tensor.address) + tensor.bytes());
    }
    if (size > 0) device_.upload(up_.reserve(takes.bytes()), memory, size);
}

void Slot::download(const Packed& gives, const std::vector<std::string>& stay) {
    std::size_t size = 0;
    for (const auto& [name, tensor] : gives.tensors()) {
        if (stays(stay, name)) break;
        size = static_cast<std::size_t>(tensor.address) + tensor.bytes();
    }
    if (size > 0) device_.download(pinned_down_.reserve(gives.bytes()), down_.reserve(gives.bytes()), size);
}

Arrays Slot::read(const Packed& gives, const std::vector<std::string>& stay) {
    const unsigned char* memory = pinned_down_.reserve(gives.bytes());
    Arrays arrays;
    for (const auto& [name, tensor] : gives.tensors()) {
        if (stays(stay, name)) continue;
        const Array array = Array::empty(tensor.dtype, tensor.shape);
        std::memcpy(array.data(), memory + tensor.address, tensor.bytes());
        arrays[name] = array;
    }
    return arrays;
}

}  // namespace odise

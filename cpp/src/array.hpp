// A tensor in the memory of the host, C-contiguous. Copies share their memory.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <vector>

#include "bundle/spec.hpp"

namespace odise {

struct Array {
    Dtype dtype = Dtype::float32;
    Shape shape;
    std::shared_ptr<unsigned char[]> memory;
    std::size_t offset = 0;  // in bytes

    static Array empty(Dtype dtype, Shape shape) {
        Array array{dtype, std::move(shape), nullptr, 0};
        array.memory = std::shared_ptr<unsigned char[]>(new unsigned char[array.bytes() + 1]);
        return array;
    }

    static Array zeros(Dtype dtype, Shape shape) {
        Array array = empty(dtype, std::move(shape));
        std::fill_n(array.data(), array.bytes(), static_cast<unsigned char>(0));
        return array;
    }

    template <typename T>
    static Array of(Dtype dtype, Shape shape, const std::vector<T>& values) {
        Array array = empty(dtype, std::move(shape));
        std::copy(values.begin(), values.end(), array.as<T>());
        return array;
    }

    std::size_t count() const {
        return static_cast<std::size_t>(
            std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>()));
    }
    std::size_t bytes() const { return count() * bytes_of(dtype); }
    unsigned char* data() const { return memory.get() + offset; }

    template <typename T>
    T* as() const {
        return reinterpret_cast<T*>(data());
    }

    // Elements `start` to `stop` of the first axis, in the same memory.
    Array part(std::int64_t start, std::int64_t stop) const {
        Array array = *this;
        const std::size_t one = shape[0] == 0 ? 0 : bytes() / static_cast<std::size_t>(shape[0]);
        array.shape[0] = stop - start;
        array.offset += one * static_cast<std::size_t>(start);
        return array;
    }
};

// A number of float16, from its bits.
inline float from_half(std::uint16_t bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float value =
        std::ldexp(static_cast<float>(exponent == 0 ? fraction : fraction + 1024), std::max(exponent, 1) - 25);
    if (exponent == 31) {
        value = fraction == 0 ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
    }
    return (bits & 0x8000) != 0 ? -value : value;
}

// "source.tensor" -> array.
using Arrays = std::map<std::string, Array>;

}  // namespace odise

// Bilinear resizing as a sparse linear map along one axis. See odise_trt/interpolate.py: equal bit for bit.
#pragma once

#include <cstdint>
#include <vector>

namespace odise {

// out[i] = sum over t of weight[i * taps + t] * in[index[i * taps + t]]
struct AxisMap {
    std::size_t taps;
    std::vector<std::int64_t> index;
    std::vector<double> weight;

    // Resizes an axis of `size` elements to `out`, as torch's interpolate without align_corners.
    static AxisMap bilinear(std::int64_t size, std::int64_t out);
    std::size_t length() const { return index.size() / taps; }
    // This map, and `following` after it.
    AxisMap then(const AxisMap& following) const;
    // Adds weights of the same element of the input to the first of them, in float64.
    AxisMap merged() const;
};

}  // namespace odise

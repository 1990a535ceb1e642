#include "axis_map.hpp"

#include <algorithm>

namespace odise {

AxisMap AxisMap::bilinear(std::int64_t size, std::int64_t out) {
    AxisMap map{2, {}, {}};
    // Positions are in float32, as torch computes them for float32 data.
    const float scale = static_cast<float>(size) / static_cast<float>(out);
    for (std::int64_t i = 0; i < out; ++i) {
        const float moved = scale * (static_cast<float>(i) + 0.5F);
        const float position = std::max(moved - 0.5F, 0.0F);
        const std::int64_t low = std::min(static_cast<std::int64_t>(position), size - 1);
        const std::int64_t high = std::min(low + 1, size - 1);
        const double fraction = std::clamp(static_cast<double>(position) - static_cast<double>(low), 0.0, 1.0);
        map.index.insert(map.index.end(), {low, high});
        map.weight.insert(map.weight.end(), {1.0 - fraction, fraction});
    }
    return map;
}

AxisMap AxisMap::then(const AxisMap& following) const {
    AxisMap map{taps * following.taps, {}, {}};
    for (std::size_t i = 0; i < following.index.size(); ++i) {
        const auto from = static_cast<std::size_t>(following.index[i]) * taps;
        for (std::size_t tap = 0; tap < taps; ++tap) {
            map.index.push_back(index[from + tap]);
            map.weight.push_back(following.weight[i] * weight[from + tap]);
        }
    }
    return map;
}

AxisMap AxisMap::merged() const {
    AxisMap map = *this;
    for (std::size_t row = 0; row < index.size(); row += taps) {
        for (std::size_t tap = 1; tap < taps; ++tap) {
            for (std::size_t earlier = 0; earlier < tap; ++earlier) {
                if (index[row + tap] == index[row + earlier]) {
                    map.weight[row + earlier] += map.weight[row + tap];
                    map.weight[row + tap] = 0;
                }
            }
        }
    }
    return map;
}

}  // namespace odise

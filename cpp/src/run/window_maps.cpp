#include "window_maps.hpp"

#include <cstring>

#include "error.hpp"
#include "text/python_text.hpp"

namespace odise {

namespace {

constexpr std::int64_t colors = 3;

// Of every number of float16, its value.
const std::vector<float>& halves() {
    static const std::vector<float> table = [] {
        std::vector<float> made(1 << 16);
        for (std::size_t bits = 0; bits < made.size(); ++bits) made[bits] = from_half(static_cast<std::uint16_t>(bits));
        return made;
    }();
    return table;
}

// The nearest number of float16, the even one of two, for numbers within its range.
float rounded_to_half(float value) {
    constexpr float least_normal = 1.0F / 16384;
    if (std::abs(value) < least_normal) {
        // From 0.5 to 1, numbers of float32 have the distance of the small ones of float16.
        const float rounded = (std::abs(value) + 0.5F) - 0.5F;
        return std::copysign(rounded, value);
    }
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    bits += 0xFFF + (bits >> 13 & 1);
    bits &= ~std::uint32_t{0x1FFF};
    std::memcpy(&value, &bits, sizeof bits);
    return value;
}

// Whether a tensor has a map of each window.
bool is_of_windows(const Tensor& tensor) {
    const auto& shape = tensor.shape;
    const bool is_number = tensor.dtype == Dtype::float32 || tensor.dtype == Dtype::float16;
    return is_number && shape.size() == 4 && shape[0].axis == "windows" && shape[1].axis.empty() &&
           shape[2].axis == "side" && shape[3] == shape[2] && shape[2].divisor > 0;
}

}  // namespace

Array cut_windows(const Array& picture, const Grid& grid, std::size_t start, std::size_t stop) {
    const std::int64_t height = picture.shape[0], width = picture.shape[1], side = grid.side, area = side * side;
    const Array windows = Array::zeros(Dtype::float32, {static_cast<std::int64_t>(stop - start), colors, side, side});
    float* out = windows.as<float>();
    for (std::size_t number = start; number < stop; ++number, out += colors * area) {
        const auto [top, left] = grid.corners[number];
        const std::int64_t rows = std::min(side, height - top), columns = std::min(side, width - left);
        for (std::int64_t y = 0; y < rows; ++y) {
            const std::uint8_t* pixel = picture.data() + ((top + y) * width + left) * colors;
            for (std::int64_t x = 0; x < columns; ++x, pixel += colors) {
                for (std::int64_t color = 0; color < colors; ++color) {
                    out[color * area + y * side + x] = static_cast<float>(pixel[color]) / 255;
                }
            }
        }
    }
    return windows;
}

WindowMaps::WindowMaps(const std::string& stage, const Tensor& tensor, const Grid& grid, const Size& picture)
    : grid_(grid) {
    const auto misfit = [&] {
        return bundle_error("stage " + stage + " does not give " + tensor.name + " as maps of windows",
                            "build the stage again");
    };
    if (!is_of_windows(tensor)) throw misfit();
    const std::int64_t stride = tensor.shape[2].divisor;
    bool divides = grid.side % stride == 0;
    for (const auto& [top, left] : grid.corners) divides = divides && top % stride == 0 && left % stride == 0;
    if (!divides) throw misfit();
    map_ = {tensor.name,
            tensor.shape[1].size,
            (picture.height + stride - 1) / stride,
            (picture.width + stride - 1) / stride,
            stride,
            {}};
    const auto windows = static_cast<std::int64_t>(grid.corners.size());
    averages_ = windows * grid.side * grid.side > grid.height * grid.width;
    half_ = tensor.dtype == Dtype::float16;
    map_.values.resize(static_cast<std::size_t>(map_.channels * map_.height * map_.width));
}

const float* WindowMaps::row_of(const Array& maps, std::size_t start, std::size_t count) {
    if (!half_) return maps.as<float>() + start;
    const std::uint16_t* from = maps.as<std::uint16_t>() + start;
    row_.resize(count);
    std::transform(from, from + count, row_.begin(), [](std::uint16_t bits) { return halves()[bits]; });
    return row_.data();
}

void WindowMaps::add(const Array& maps) {
    const std::int64_t side = grid_.side / map_.stride;
    const std::size_t left_over = grid_.corners.size() - next_;
    if (maps.shape != Shape{maps.shape[0], map_.channels, side, side} ||
        static_cast<std::size_t>(maps.shape[0]) > left_over) {
        throw backend_error("maps of windows for " + map_.name + " have shape " + tuple_of(maps.shape));
    }
    for (std::int64_t window = 0; window < maps.shape[0]; ++window, ++next_) {
        const std::int64_t top = grid_.corners[next_].first / map_.stride,
                           left = grid_.corners[next_].second / map_.stride;
        const std::int64_t rows = std::min(side, map_.height - top);
        // A window at the right edge can lie in the padding with all of these places.
        const auto count = static_cast<std::size_t>(std::max<std::int64_t>(0, std::min(side, map_.width - left)));
        for (std::int64_t channel = 0; channel < map_.channels; ++channel) {
            for (std::int64_t y = 0; y < rows; ++y) {
                const std::int64_t place = ((window * map_.channels + channel) * side + y) * side;
                const float* from = row_of(maps, static_cast<std::size_t>(place), count);
                float* to = map_.values.data() + (channel * map_.height + top + y) * map_.width + left;
                if (averages_) {
                    for (std::size_t x = 0; x < count; ++x) to[x] += from[x];
                } else {
                    std::copy_n(from, count, to);
                }
            }
        }
    }
}

FeatureMap WindowMaps::result() {
    if (!averages_) return std::move(map_);
    const std::int64_t side = grid_.side / map_.stride, height = map_.height, width = map_.width;
    std::vector<float> counts(static_cast<std::size_t>(height * width));
    for (const auto& [top, left] : grid_.corners) {
        const std::int64_t first = top / map_.stride, column = left / map_.stride;
        for (std::int64_t y = first; y < std::min(first + side, height); ++y) {
            for (std::int64_t x = column; x < std::min(column + side, width); ++x) {
                counts[static_cast<std::size_t>(y * width + x)] += 1;
            }
        }
    }
    for (std::size_t i = 0; i < map_.values.size(); ++i) {
        const float mean = map_.values[i] / counts[i % counts.size()];
        map_.values[i] = half_ ? rounded_to_half(mean) : mean;
    }
    return std::move(map_);
}

}  // namespace odise

#include "resize.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace odise {

namespace {

// Weights are integers with so many bits after the point: 8 are for the pixel, 2 for sums beyond it.
constexpr int precision = 32 - 8 - 2;

// Which inputs make up each output along one axis, and their weights.
struct Filter {
    std::vector<std::size_t> first, count;
    std::vector<int> weight;  // (outputs, most)
    std::size_t most;
};

// precompute_coeffs and normalize_coeffs_8bpc of Pillow's Resample.c, for the triangle filter.
Filter triangle(std::int64_t size, std::int64_t out) {
    const double scale = static_cast<double>(size) / static_cast<double>(out);
    const double support = std::max(scale, 1.0), per_pixel = 1.0 / support;
    Filter filter;
    filter.most = static_cast<std::size_t>(std::ceil(support)) * 2 + 1;
    filter.weight.assign(static_cast<std::size_t>(out) * filter.most, 0);
    std::vector<double> weights(filter.most);
    for (std::int64_t i = 0; i < out; ++i) {
        const double center = (static_cast<double>(i) + 0.5) * scale;
        const std::int64_t first = std::max<std::int64_t>(static_cast<std::int64_t>(center - support + 0.5), 0);
        const std::int64_t last = std::min(static_cast<std::int64_t>(center + support + 0.5), size);
        const auto count = static_cast<std::size_t>(last - first);
        double sum = 0;
        for (std::size_t j = 0; j < count; ++j) {
            const double at = (static_cast<double>(static_cast<std::int64_t>(j) + first) - center + 0.5) * per_pixel;
            weights[j] = std::abs(at) < 1 ? 1 - std::abs(at) : 0;
            sum += weights[j];
        }
        for (std::size_t j = 0; j < count; ++j) {
            const double share = sum != 0 ? weights[j] / sum : weights[j];
            filter.weight[static_cast<std::size_t>(i) * filter.most + j] =
                static_cast<int>(0.5 + share * (1 << precision));
        }
        filter.first.push_back(static_cast<std::size_t>(first));
        filter.count.push_back(count);
    }
    return filter;
}

std::uint8_t rounded(int sum) { return static_cast<std::uint8_t>(std::clamp(sum >> precision, 0, 255)); }

constexpr int half = 1 << (precision - 1);

void copy_row(const Pixels& pixels, std::int64_t row, std::uint8_t* to) {
    const std::uint8_t* from = pixels.data + row * pixels.stride;
    const auto width = static_cast<std::size_t>(pixels.size.width);
    if (!pixels.is_bgr) {
        std::memcpy(to, from, 3 * width);
        return;
    }
    for (std::size_t i = 0; i < width; ++i) {
        to[3 * i] = from[3 * i + 2];
        to[3 * i + 1] = from[3 * i + 1];
        to[3 * i + 2] = from[3 * i];
    }
}

void resize_row(const std::uint8_t* from, const Filter& filter, std::uint8_t* to) {
    for (std::size_t i = 0; i < filter.first.size(); ++i) {
        const std::uint8_t* pixel = from + 3 * filter.first[i];
        const int* weight = &filter.weight[i * filter.most];
        int red = half, green = half, blue = half;
        for (std::size_t j = 0; j < filter.count[i]; ++j, pixel += 3) {
            red += pixel[0] * weight[j];
            green += pixel[1] * weight[j];
            blue += pixel[2] * weight[j];
        }
        to[3 * i] = rounded(red);
        to[3 * i + 1] = rounded(green);
        to[3 * i + 2] = rounded(blue);
    }
}

}  // namespace

Size shortest_size(const Size& size, std::int64_t short_side, std::int64_t max_side) {
    const auto height = static_cast<double>(size.height), width = static_cast<double>(size.width);
    const double scale = static_cast<double>(short_side) / std::min(height, width);
    double new_height = static_cast<double>(short_side), new_width = new_height;
    if (height < width) {
        new_width = scale * width;
    } else {
        new_height = scale * height;
    }
    const double longer = std::max(new_height, new_width);
    if (longer > static_cast<double>(max_side)) {
        const double shrink = static_cast<double>(max_side) / longer;
        new_height *= shrink;
        new_width *= shrink;
    }
    return {std::max<std::int64_t>(1, static_cast<std::int64_t>(new_height + 0.5)),
            std::max<std::int64_t>(1, static_cast<std::int64_t>(new_width + 0.5))};
}

namespace {

// A picture in between: uint8 (height, width, 3) without gaps.
struct Plane {
    Size size;
    std::vector<std::uint8_t> bytes;

    explicit Plane(const Size& of) : size(of), bytes(static_cast<std::size_t>(3 * of.height * of.width)) {}
    std::size_t row() const { return static_cast<std::size_t>(3 * size.width); }
};

Plane narrowed(const Plane& from, std::int64_t width) {
    const Filter columns = triangle(from.size.width, width);
    Plane made({from.size.height, width});
    for (std::size_t y = 0; y < static_cast<std::size_t>(from.size.height); ++y) {
        resize_row(&from.bytes[y * from.row()], columns, &made.bytes[y * made.row()]);
    }
    return made;
}

Plane lowered(const Plane& from, std::int64_t height) {
    const Filter rows = triangle(from.size.height, height);
    Plane made({height, from.size.width});
    std::vector<int> sums(from.row());
    for (std::size_t y = 0; y < rows.first.size(); ++y) {
        std::fill(sums.begin(), sums.end(), half);
        for (std::size_t j = 0; j < rows.count[y]; ++j) {
            const std::uint8_t* row = &from.bytes[(rows.first[y] + j) * from.row()];
            const int weight = rows.weight[y * rows.most + j];
            for (std::size_t x = 0; x < sums.size(); ++x) sums[x] += row[x] * weight;
        }
        std::transform(sums.begin(), sums.end(), &made.bytes[y * made.row()], rounded);
    }
    return made;
}

}  // namespace

bool rows_come_first(const Size& from, const Size& to) {
    return to.height < from.height && from.height - to.height > 2 * (from.width - to.width);
}

Arrays resample_tensors(std::int64_t size, std::int64_t out) {
    constexpr int low_bits = 11;
    const Filter filter = triangle(size, out);
    const std::size_t taps = *std::max_element(filter.count.begin(), filter.count.end());
    std::vector<std::int64_t> index;
    std::vector<float> high, low;
    for (std::size_t i = 0; i < filter.first.size(); ++i) {
        for (std::size_t j = 0; j < taps; ++j) {
            const int weight = j < filter.count[i] ? filter.weight[i * filter.most + j] : 0;
            index.push_back(std::min(static_cast<std::int64_t>(filter.first[i] + j), size - 1));
            high.push_back(static_cast<float>(weight >> low_bits));
            low.push_back(static_cast<float>(weight & ((1 << low_bits) - 1)));
        }
    }
    const Shape shape = {out, static_cast<std::int64_t>(taps)};
    return {{"index", Array::of(Dtype::int64, shape, index)},
            {"high", Array::of(Dtype::float32, shape, high)},
            {"low", Array::of(Dtype::float32, shape, low)}};
}

Array resized(const Pixels& pixels, const Size& to) {
    Plane plane(pixels.size);
    for (std::int64_t y = 0; y < pixels.size.height; ++y) {
        copy_row(pixels, y, &plane.bytes[static_cast<std::size_t>(y) * plane.row()]);
    }
    const Size from = pixels.size;
    const auto narrow = [&] {
        if (to.width != from.width) plane = narrowed(plane, to.width);
    };
    const bool rows_first = rows_come_first(from, to);
    if (!rows_first) narrow();
    if (to.height != from.height) plane = lowered(plane, to.height);
    if (rows_first) narrow();
    return Array::of(Dtype::uint8, {to.height, to.width, 3}, plane.bytes);
}

}  // namespace odise

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

Array resized(const Pixels& pixels, const Size& to) {
    const auto in_row = static_cast<std::size_t>(3 * pixels.size.width), row = static_cast<std::size_t>(3 * to.width);
    // Columns first, as in Pillow: each pass rounds to 8 bits.
    std::vector<std::uint8_t> narrow(static_cast<std::size_t>(pixels.size.height) * row), line(in_row);
    const Filter columns = triangle(pixels.size.width, to.width);
    for (std::int64_t y = 0; y < pixels.size.height; ++y) {
        std::uint8_t* out = narrow.data() + static_cast<std::size_t>(y) * row;
        if (to.width == pixels.size.width) {
            copy_row(pixels, y, out);
        } else {
            copy_row(pixels, y, line.data());
            resize_row(line.data(), columns, out);
        }
    }
    const Array out = Array::empty(Dtype::uint8, {to.height, to.width, 3});
    if (to.height == pixels.size.height) {
        std::copy(narrow.begin(), narrow.end(), out.data());
        return out;
    }
    const Filter rows = triangle(pixels.size.height, to.height);
    std::vector<int> sums(row);
    for (std::size_t y = 0; y < rows.first.size(); ++y) {
        std::fill(sums.begin(), sums.end(), half);
        for (std::size_t j = 0; j < rows.count[y]; ++j) {
            const std::uint8_t* from = narrow.data() + (rows.first[y] + j) * row;
            const int weight = rows.weight[y * rows.most + j];
            for (std::size_t x = 0; x < row; ++x) sums[x] += from[x] * weight;
        }
        std::transform(sums.begin(), sums.end(), out.data() + y * row, rounded);
    }
    return out;
}

}  // namespace odise

#include "mask_tiles.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels.hpp"

namespace odise {

namespace {

constexpr std::size_t taps = 4;
// Weighted means stay between the extremes, except for rounding.
constexpr float slack = 1e-5F;

}  // namespace

std::vector<Rectangle> split(const Rectangle& whole, std::int64_t rows, std::int64_t columns) {
    std::vector<Rectangle> parts;
    for (std::int64_t top = whole.top; top < whole.bottom; top += rows) {
        for (std::int64_t left = whole.left; left < whole.right; left += columns) {
            parts.push_back({top, left, std::min(top + rows, whole.bottom), std::min(left + columns, whole.right)});
        }
    }
    return parts;
}

MaskTiles::MaskTiles(const Arrays& inputs, const std::string& columns) {
    const Array& masks = inputs.at("pred_masks");
    masks_ = masks.as<float>();
    queries_ = static_cast<std::size_t>(masks.shape[1]);
    height_ = masks.shape[2], width_ = masks.shape[3];
    const auto axis = [&](const std::string& name) {
        const Array& index = inputs.at(name + "_index");
        return Axis{index.as<std::int64_t>(), inputs.at(name + "_weight").as<float>(), index.shape[0]};
    };
    rows_ = axis("row"), columns_ = axis(columns);
    low_.resize(queries_), high_.resize(queries_);
}

MaskTiles::Span MaskTiles::span_of(const Axis& axis, std::int64_t start, std::int64_t stop) {
    Span span{std::numeric_limits<std::int64_t>::max(), 0};
    for (std::int64_t i = start * std::int64_t{taps}; i < stop * std::int64_t{taps}; ++i) {
        if (axis.weight[i] == 0) continue;
        span.first = std::min(span.first, axis.index[i]);
        span.last = std::max(span.last, axis.index[i]);
    }
    // Columns that the output is filled up with have no weights.
    return span.first > span.last ? Span{0, 0} : span;
}

void MaskTiles::open(const Rectangle& place) {
    place_ = place;
    down_ = span_of(rows_, place.top, place.bottom);
    across_ = span_of(columns_, place.left, place.right);
    const std::size_t columns = place.columns();
    places_.assign(taps * columns, 0);
    shares_.assign(taps * columns, 0);
    used_ = 1;
    for (std::size_t x = 0; x < columns; ++x) {
        std::size_t used = 0;
        for (std::size_t t = 0; t < taps; ++t) {
            const auto from = (static_cast<std::size_t>(place.left) + x) * taps + t;
            if (columns_.weight[from] == 0) continue;
            places_[used * columns + x] = static_cast<std::int32_t>(columns_.index[from] - across_.first);
            shares_[used++ * columns + x] = columns_.weight[from];
        }
        used_ = std::max(used_, used);
    }
    bound();
}

void MaskTiles::bound() {
    const std::size_t across = across_.length();
    extremes_.resize(2 * across);
    float *lows = extremes_.data(), *highs = lows + across;
    for (std::size_t q = 0; q < queries_; ++q) {
        const float* row = masks_ + (static_cast<std::int64_t>(q) * height_ + down_.first) * width_ + across_.first;
        std::copy_n(row, across, lows);
        std::copy_n(row, across, highs);
        for (std::size_t y = 1; y < down_.length(); ++y) {
            row += width_;
            kernels().extend(row, lows, highs, across);
        }
        const float low = *std::min_element(lows, lows + across), high = *std::max_element(highs, highs + across);
        const float room = slack * (1 + std::max(std::abs(low), std::abs(high)));
        low_[q] = low - room, high_[q] = high + room;
    }
}

void MaskTiles::logits(std::size_t query, float* out) {
    const std::size_t columns = place_.columns();
    wide_.resize(down_.length() * columns);
    const float* from = masks_ + (static_cast<std::int64_t>(query) * height_ + down_.first) * width_ + across_.first;
    for (std::size_t y = 0; y < down_.length(); ++y, from += width_) {
        kernels().gather(from, places_.data(), shares_.data(), used_, wide_.data() + y * columns, columns);
    }
    for (std::int64_t y = place_.top; y < place_.bottom; ++y, out += columns) {
        const float* rows[taps];
        float weights[taps];
        std::size_t used = 0;
        for (std::size_t t = 0; t < taps; ++t) {
            const std::size_t tap = static_cast<std::size_t>(y) * taps + t;
            if (rows_.weight[tap] == 0) continue;
            weights[used] = rows_.weight[tap];
            rows[used++] = wide_.data() + static_cast<std::size_t>(rows_.index[tap] - down_.first) * columns;
        }
        kernels().blend(rows, weights, used, out, columns);
    }
}

}  // namespace odise

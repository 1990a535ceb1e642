// Windows of a picture and their maps put together, against the plainest way to compute the same: every number is
// equal.
#include "run/window_maps.hpp"

#include <cmath>
#include <limits>
#include <random>

#include "check.hpp"

namespace {

using odise::Array;
using odise::Dtype;
using odise::FeatureMap;
using odise::Grid;
using odise::Size;

constexpr std::int64_t window = 64, channels = 2, stride = 8;

odise::Tensor tensor_of(Dtype dtype, std::int64_t divisor = stride) {
    return {"un11", dtype, {{0, "windows", 1}, {channels, "", 1}, {0, "side", divisor}, {0, "side", divisor}}};
}

// To half windows, so that some overlap.
Size padded(const Size& picture) { return {(picture.height + 31) / 32 * 32, (picture.width + 31) / 32 * 32}; }

float half(std::uint16_t bits) { return odise::from_half(bits); }

// The nearest number of float16, found among all of them. Of two that are equally near, the even one.
float nearest_half(float value) {
    std::uint16_t best = 0;
    for (std::uint16_t bits = 1; bits < 0x7C00; ++bits) {
        const float found = std::abs(half(bits) - std::abs(value)), known = std::abs(half(best) - std::abs(value));
        if (found < known || (found == known && bits % 2 == 0)) best = bits;
    }
    return std::copysign(half(best), value);
}

void check_cut(const Size& picture) {
    const Grid grid = Grid::over(padded(picture), window);
    const Array pixels = Array::empty(Dtype::uint8, {picture.height, picture.width, 3});
    for (std::size_t i = 0; i < pixels.count(); ++i) pixels.data()[i] = static_cast<unsigned char>(i * 89 + i / 251);
    const Array windows = odise::cut_windows(pixels, grid, 0, grid.corners.size());
    std::size_t wrong = 0, place = 0;
    for (const auto& [top, left] : grid.corners) {
        for (std::int64_t color = 0; color < 3; ++color) {
            for (std::int64_t y = top; y < top + grid.side; ++y) {
                for (std::int64_t x = left; x < left + grid.side; ++x, ++place) {
                    const bool inside = y < picture.height && x < picture.width;
                    const float value =
                        inside ? static_cast<float>(pixels.data()[(y * picture.width + x) * 3 + color]) / 255 : 0;
                    wrong += windows.as<float>()[place] == value ? 0U : 1U;
                }
            }
        }
    }
    CHECK_EQUAL(wrong, std::size_t{0});
    const std::size_t last = grid.corners.size() - 1;
    const Array one = odise::cut_windows(pixels, grid, last, last + 1);
    CHECK_EQUAL(one.shape[0], 1);
    CHECK(std::equal(one.data(), one.data() + one.bytes(), windows.data() + last * one.bytes()));
}

// Each place of the map is the mean over the windows that have it. Windows come in parts of `at_once`.
// `below`: the bits of all numbers are less, as float16 has them.
void check_map(const Size& picture, Dtype dtype, std::int64_t at_once, std::uint32_t below = 0x7C00) {
    const Grid grid = Grid::over(padded(picture), window);
    const auto count = static_cast<std::int64_t>(grid.corners.size());
    const std::int64_t side = grid.side / stride, plane = side * side;
    const Array maps = Array::empty(dtype, {count, channels, side, side});
    std::minstd_rand random(7);
    std::vector<float> values;
    for (std::size_t i = 0; i < maps.count(); ++i) {
        // Of both signs.
        const auto bits = static_cast<std::uint16_t>((random() % below) | (random() % 2) << 15);
        values.push_back(half(bits));
        if (dtype == Dtype::float16) maps.as<std::uint16_t>()[i] = bits;
        if (dtype == Dtype::float32) maps.as<float>()[i] = values.back();
    }
    odise::WindowMaps stitched("raw_features", tensor_of(dtype), grid, picture);
    for (std::int64_t start = 0; start < count; start += at_once) {
        stitched.add(maps.part(start, std::min(start + at_once, count)));
    }
    const FeatureMap map = stitched.result();
    CHECK_EQUAL(map.name, std::string("un11"));
    CHECK_EQUAL(map.stride, stride);
    CHECK_EQUAL(map.height, (picture.height + stride - 1) / stride);
    CHECK_EQUAL(map.width, (picture.width + stride - 1) / stride);
    CHECK_EQUAL(map.values.size(), static_cast<std::size_t>(map.channels * map.height * map.width));
    std::size_t wrong = 0, place = 0;
    for (std::int64_t channel = 0; channel < channels; ++channel) {
        for (std::int64_t y = 0; y < map.height; ++y) {
            for (std::int64_t x = 0; x < map.width; ++x, ++place) {
                float sum = 0, over = 0;
                for (std::int64_t number = 0; number < count; ++number) {
                    const auto [top, left] = grid.corners[static_cast<std::size_t>(number)];
                    const std::int64_t row = y - top / stride, column = x - left / stride;
                    if (row < 0 || row >= side || column < 0 || column >= side) continue;
                    sum +=
                        values[static_cast<std::size_t>((number * channels + channel) * plane + row * side + column)];
                    over += 1;
                }
                const float mean = sum / over;
                const bool rounds = dtype == Dtype::float16 && over > 1;
                wrong += map.values[place] == (rounds ? nearest_half(mean) : mean) ? 0U : 1U;
            }
        }
    }
    CHECK_EQUAL(wrong, std::size_t{0});
}

void check_what_does_not_fit() {
    const Size picture{64, 90};
    const Grid grid = Grid::over(padded(picture), window);
    const auto words = [&](const odise::Tensor& tensor) {
        return WORDS_OF(odise::WindowMaps("raw_features", tensor, grid, picture));
    };
    const std::string misfit = "stage raw_features does not give un11 as maps of windows";
    CHECK_EQUAL(words(tensor_of(Dtype::int64)), misfit);
    CHECK_EQUAL(words(tensor_of(Dtype::float32, 48)), misfit);
    odise::Tensor flat = tensor_of(Dtype::float32);
    flat.shape.pop_back();
    CHECK_EQUAL(words(flat), misfit);
    odise::Tensor wide = tensor_of(Dtype::float32);
    wide.shape[3].divisor = 4;
    CHECK_EQUAL(words(wide), misfit);
    odise::WindowMaps map("raw_features", tensor_of(Dtype::float32), grid, picture);
    const auto adding = [&](const odise::Shape& shape) {
        return WORDS_OF(map.add(Array::zeros(Dtype::float32, shape)));
    };
    CHECK_EQUAL(adding({1, channels, 8, 7}), std::string("maps of windows for un11 have shape (1, 2, 8, 7)"));
    CHECK_EQUAL(adding({3, channels, 8, 8}), std::string("maps of windows for un11 have shape (3, 2, 8, 8)"));
    CHECK_EQUAL(adding({2, channels, 8, 8}), std::string("nothing was thrown"));
}

}  // namespace

int main() {
    for (const Size& picture : {Size{64, 128}, Size{100, 150}, Size{130, 65}, Size{20, 300}, Size{1, 1}}) {
        check_cut(picture);
        for (const std::int64_t at_once : {1, 2, 9}) check_map(picture, Dtype::float32, at_once);
    }
    // Without overlap, and with it.
    check_map({64, 128}, Dtype::float16, 2);
    check_map({100, 90}, Dtype::float16, 3);
    // The smallest numbers of float16 have fewer digits.
    check_map({100, 90}, Dtype::float16, 1, 0x500);
    check_what_does_not_fit();
    return failures > 0;
}

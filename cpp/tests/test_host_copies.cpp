// The host stages `cut` and `stitch` against the plainest way to compute the same: every number is equal.
#include <cmath>
#include <limits>
#include <random>

#include "check.hpp"
#include "engines/host/stages.hpp"
#include "picture/vectors.hpp"

namespace {

using odise::Array;
using odise::Arrays;
using odise::Dtype;

constexpr std::int64_t clip_side = 21, channels = 3, window = 64;

Arrays vectors_of(const odise::Size& picture, const odise::Size& padded) {
    Arrays found;
    for (auto& [name, array] : odise::picture_tensors({picture, padded, picture, window, clip_side})) {
        found[name.substr(name.find('.') + 1)] = array;
    }
    return found;
}

std::unique_ptr<odise::Engine> open(const char* name, const std::vector<const char*>& inputs,
                                    const std::vector<const char*>& outputs, Dtype maps = Dtype::float32) {
    odise::StageSpec spec;
    spec.name = name;
    for (const char* one : inputs) spec.inputs.push_back({one, maps, {}});
    for (const char* one : outputs) spec.outputs.push_back({one, Dtype::float32, {}});
    return odise::host_stage(spec);
}

std::unique_ptr<odise::Engine> open_cut() {
    return open("cut",
                {"picture", "window_rows", "window_columns", "row_inside", "column_inside", "clip_rows",
                 "clip_row_weight", "clip_columns", "clip_column_weight"},
                {"windows", "clip_image"});
}

std::unique_ptr<odise::Engine> open_stitch(Dtype maps) {
    return open("stitch", {"s2_windows", "s3_windows", "s4_windows", "s5_windows", "tap_block", "tap_weight"},
                {"s2", "s3", "s4", "s5", "maps_not_finite"}, maps);
}

void check_cut(const odise::Size& picture, const odise::Size& padded) {
    Arrays inputs = vectors_of(picture, padded);
    const Array pixels = Array::empty(Dtype::uint8, {picture.height, picture.width, 3});
    for (std::size_t i = 0; i < pixels.count(); ++i) pixels.data()[i] = static_cast<unsigned char>(i * 89 + i / 251);
    inputs["picture"] = pixels;
    const auto share = [&](std::int64_t y, std::int64_t x, std::int64_t color) {
        if (y >= picture.height || x >= picture.width) return 0.0F;
        return static_cast<float>(pixels.data()[(y * picture.width + x) * 3 + color]) / 255;
    };
    const odise::Grid grid = odise::Grid::over(padded, window);
    const auto count = static_cast<std::int64_t>(grid.corners.size());
    const Array windows = Array::zeros(Dtype::float32, {count, 3, grid.side, grid.side});
    const Array small = Array::zeros(Dtype::float32, {1, 3, clip_side, clip_side});
    open_cut()->run({}, inputs, {{"windows", windows}, {"clip_image", small}});
    const float* found = windows.as<float>();
    for (const auto& [top, left] : grid.corners) {
        for (std::int64_t color = 0; color < 3; ++color) {
            for (std::int64_t y = 0; y < grid.side; ++y) {
                for (std::int64_t x = 0; x < grid.side; ++x) CHECK_EQUAL(*found++, share(top + y, left + x, color));
            }
        }
    }
    const auto *rows = inputs["clip_rows"].as<std::int64_t>(), *columns = inputs["clip_columns"].as<std::int64_t>();
    const auto *down = inputs["clip_row_weight"].as<float>(), *across = inputs["clip_column_weight"].as<float>();
    for (std::int64_t i = 0; i < 3 * clip_side * clip_side; ++i) {
        const std::int64_t color = i / (clip_side * clip_side), y = i / clip_side % clip_side, x = i % clip_side;
        const auto mixed = [&](std::int64_t column) {
            return share(rows[y], column, color) * down[y] +
                   share(rows[clip_side + y], column, color) * down[clip_side + y];
        };
        const float expected = mixed(columns[x]) * across[x] + mixed(columns[clip_side + x]) * across[clip_side + x];
        CHECK_EQUAL(small.as<float>()[i], expected);
    }
}

// The mean of the windows over each element, as numpy makes it: a sum in the order of the windows, then a division.
void check_level(const Array& maps, const Array& whole, const odise::Grid& grid, std::int64_t stride) {
    const std::int64_t side = grid.side / stride, height = grid.height / stride, width = grid.width / stride;
    for (std::int64_t channel = 0; channel < channels; ++channel) {
        for (std::int64_t y = 0; y < height; ++y) {
            for (std::int64_t x = 0; x < width; ++x) {
                float sum = 0, over = 0;
                for (std::size_t number = 0; number < grid.corners.size(); ++number) {
                    const auto [top, left] = grid.corners[number];
                    const std::int64_t row = y - top / stride, column = x - left / stride;
                    if (row < 0 || row >= side || column < 0 || column >= side) continue;
                    const std::int64_t plane = static_cast<std::int64_t>(number) * channels + channel;
                    sum += maps.as<float>()[(plane * side + row) * side + column];
                    over += 1;
                }
                CHECK_EQUAL(whole.as<float>()[(channel * height + y) * width + x], sum / over);
            }
        }
    }
}

void check_stitch(const odise::Size& padded) {
    Arrays inputs = vectors_of(padded, padded), outputs;
    const odise::Grid grid = odise::Grid::over(padded, window);
    std::mt19937 numbers(static_cast<unsigned>(padded.height * 1000 + padded.width));
    std::normal_distribution<float> some(0, 3);
    for (std::int64_t level = 2, stride = 4; level <= 5; ++level, stride *= 2) {
        const std::string name = "s" + std::to_string(level);
        const auto count = static_cast<std::int64_t>(grid.corners.size());
        const Array maps = Array::zeros(Dtype::float32, {count, channels, grid.side / stride, grid.side / stride});
        for (std::size_t i = 0; i < maps.count(); ++i) maps.as<float>()[i] = some(numbers);
        inputs[name + "_windows"] = maps;
        outputs[name] = Array::zeros(Dtype::float32, {1, channels, grid.height / stride, grid.width / stride});
    }
    const float* bad = (outputs["maps_not_finite"] = Array::zeros(Dtype::float32, {4})).as<float>();
    const auto engine = open_stitch(Dtype::float32);
    engine->run({}, inputs, outputs);
    for (std::int64_t level = 2, stride = 4; level <= 5; ++level, stride *= 2) {
        const std::string name = "s" + std::to_string(level);
        check_level(inputs[name + "_windows"], outputs[name], grid, stride);
        CHECK_EQUAL(bad[level - 2], 0.0F);
    }
    // What is no number, or no finite one, is counted: once, not for each window over it.
    const Array &fine = inputs["s2_windows"], &coarse = inputs["s5_windows"];
    fine.as<float>()[0] = -std::numeric_limits<float>::infinity();
    fine.as<float>()[fine.count() - 1] = std::numeric_limits<float>::quiet_NaN();
    fine.as<float>()[1] = std::numeric_limits<float>::max();
    coarse.as<float>()[coarse.count() - 1] = std::numeric_limits<float>::infinity();
    engine->run({}, inputs, outputs);
    const float expected[] = {2, 0, 0, 1};
    for (int i = 0; i < 4; ++i) CHECK_EQUAL(bad[i], expected[i]);
}

}  // namespace

int main() {
    // One window, of the shorter side; windows side by side; over each other along one axis, and along both.
    check_cut({1, 1}, {32, 32});
    check_cut({64, 64}, {64, 64});
    check_cut({31, 50}, {32, 64});
    check_cut({50, 101}, {64, 128});
    check_cut({90, 130}, {96, 160});
    for (const odise::Size& padded : {odise::Size{32, 32}, {64, 64}, {32, 96}, {64, 128}, {64, 160}, {96, 160}}) {
        check_stitch(padded);
    }
    CHECK(open_stitch(Dtype::float16) == nullptr);
    return failures > 0 ? 1 : 0;
}

// The stage `stitch` on a CPU, see export/stages/stitch.py. Blocks that follow each other in their windows are taken
// together, so that rows of maps are copied, or blended where windows overlap. Shares are powers of two, so every
// number is numpy's: products are exact, and sums are in the order of the windows.
#include <cstring>

#include "engines/engine.hpp"
#include "kernels.hpp"

namespace odise {

namespace {

constexpr const char* levels[] = {"s2", "s3", "s4", "s5"};

// Blocks of the whole in a row, made of blocks in a row of the same windows.
struct Run {
    std::size_t row, column, length;
    std::vector<std::size_t> taps;  // The numbers of the first blocks.
    std::vector<float> weights;     // None is 0.
};

Run run_at(const Array& blocks, const Array& weights, std::size_t row, std::size_t column) {
    const auto rows = static_cast<std::size_t>(blocks.shape[1]), columns = static_cast<std::size_t>(blocks.shape[2]);
    Run run{row, column, 1, {}, {}};
    for (std::size_t tap = 0; tap < static_cast<std::size_t>(blocks.shape[0]); ++tap) {
        const std::size_t place = (tap * rows + row) * columns + column;
        const float weight = weights.as<float>()[place];
        if (weight == 0) continue;
        run.taps.push_back(static_cast<std::size_t>(blocks.as<std::int64_t>()[place]));
        run.weights.push_back(weight);
    }
    return run;
}

// Whether a block goes on where a run ends. `side`: blocks in a row of a window.
bool follows(const Run& run, const Run& next, std::size_t side) {
    if (run.weights != next.weights) return false;
    for (std::size_t tap = 0; tap < run.taps.size(); ++tap) {
        if (next.taps[tap] != run.taps[tap] + run.length || next.taps[tap] % side == 0) return false;
    }
    return true;
}

std::vector<Run> runs_of(const Array& blocks, const Array& weights, std::size_t side) {
    std::vector<Run> runs;
    for (std::size_t row = 0; row < static_cast<std::size_t>(blocks.shape[1]); ++row) {
        for (std::size_t column = 0; column < static_cast<std::size_t>(blocks.shape[2]); ++column) {
            Run next = run_at(blocks, weights, row, column);
            if (column > 0 && follows(runs.back(), next, side)) {
                ++runs.back().length;
            } else {
                runs.push_back(std::move(next));
            }
        }
    }
    return runs;
}

// `side`: blocks in a row of a window.
void stitch(const Array& maps, const std::vector<Run>& runs, std::size_t side, const Array& whole) {
    const auto channels = static_cast<std::size_t>(maps.shape[1]), length = static_cast<std::size_t>(maps.shape[3]);
    const auto height = static_cast<std::size_t>(whole.shape[2]), width = static_cast<std::size_t>(whole.shape[3]);
    const std::size_t edge = length / side, plane = length * length;
    std::vector<const float*> rows;
    for (const Run& run : runs) {
        const bool copied = run.taps.size() == 1 && run.weights[0] == 1;
        const std::size_t count = run.length * edge;
        rows.resize(run.taps.size());
        for (std::size_t channel = 0; channel < channels; ++channel) {
            for (std::size_t i = 0; i < edge; ++i) {
                float* out = whole.as<float>() + (channel * height + run.row * edge + i) * width + run.column * edge;
                for (std::size_t tap = 0; tap < rows.size(); ++tap) {
                    const std::size_t window = run.taps[tap] / (side * side), place = run.taps[tap] % (side * side);
                    rows[tap] = maps.as<float>() + (window * channels + channel) * plane +
                                (place / side * edge + i) * length + place % side * edge;
                }
                if (copied) {
                    std::memcpy(out, rows[0], count * sizeof(float));
                } else {
                    kernels().blend(rows.data(), run.weights.data(), rows.size(), out, count);
                }
            }
        }
    }
}

// How many numbers are NaN or infinite: all bits of their exponents are set.
float not_finite(const Array& numbers) {
    constexpr std::uint32_t exponent = 0x7F800000;
    constexpr std::size_t some = 1 << 16;
    const std::size_t count = numbers.count();
    const unsigned char* from = numbers.data();
    std::size_t found = 0;
    for (std::size_t start = 0; start < count; start += some) {
        std::uint32_t here = 0;
        for (std::size_t i = start; i < std::min(count, start + some); ++i) {
            std::uint32_t bits = 0;
            std::memcpy(&bits, from + i * sizeof bits, sizeof bits);
            here += (bits & exponent) == exponent ? 1 : 0;
        }
        found += here;
    }
    return static_cast<float>(found);
}

class HostStitch : public Engine {
  public:
    void run(const Sizes&, const Arrays& inputs, const Arrays& outputs) override {
        const auto side = static_cast<std::size_t>(inputs.at("s5_windows").shape[3]);
        const std::vector<Run> runs = runs_of(inputs.at("tap_block"), inputs.at("tap_weight"), side);
        float* bad = outputs.at("maps_not_finite").as<float>();
        for (const std::string level : levels) {
            const Array& maps = inputs.at(level + "_windows");
            stitch(maps, runs, side, outputs.at(level));
            *bad++ = not_finite(maps);
        }
    }
};

}  // namespace

std::unique_ptr<Engine> host_stitch() { return std::make_unique<HostStitch>(); }

}  // namespace odise

// The stage `cut` on a CPU, see export/stages/cut.py. Windows are rows of pixels in a row: a table turns bytes into
// numbers from 0 to 1. Multiplications and additions are those of numpy, in its order.
#include <array>

#include "engines/engine.hpp"

namespace odise {

namespace {

constexpr std::size_t colors = 3;

// Of every byte, its share of 255.
const std::array<float, 256>& shares() {
    static const std::array<float, 256> table = [] {
        std::array<float, 256> made{};
        for (std::size_t i = 0; i < made.size(); ++i) made[i] = static_cast<float>(i) / 255;
        return made;
    }();
    return table;
}

void cut_windows(const Arrays& inputs, const Array& windows) {
    const unsigned char* pixels = inputs.at("picture").data();
    const auto count = static_cast<std::size_t>(windows.shape[0]), side = static_cast<std::size_t>(windows.shape[3]);
    const std::size_t area = side * side;
    const std::array<float, 256>& share = shares();
    for (std::size_t window = 0; window < count; ++window) {
        const std::int64_t* rows = inputs.at("window_rows").as<std::int64_t>() + window * side;
        const std::int64_t* columns = inputs.at("window_columns").as<std::int64_t>() + window * side;
        const float* row_inside = inputs.at("row_inside").as<float>() + window * side;
        const float* column_inside = inputs.at("column_inside").as<float>() + window * side;
        float* out = windows.as<float>() + window * colors * area;
        for (std::size_t y = 0; y < side; ++y, out += side) {
            const unsigned char* row = pixels + rows[y] * static_cast<std::int64_t>(colors);
            for (std::size_t x = 0; x < side; ++x) {
                const unsigned char* pixel = row + columns[x] * static_cast<std::int64_t>(colors);
                const float inside = row_inside[y] * column_inside[x];
                out[x] = share[pixel[0]] * inside;
                out[x + area] = share[pixel[1]] * inside;
                out[x + 2 * area] = share[pixel[2]] * inside;
            }
        }
    }
}

// Each row of the copy is mixed of two rows of the picture, and then each pixel of two columns.
void resize_for_clip(const Arrays& inputs, const Array& small) {
    const Array& picture = inputs.at("picture");
    const auto length = static_cast<std::size_t>(picture.shape[1]) * colors;
    const auto side = static_cast<std::size_t>(small.shape[3]);
    const std::int64_t *rows = inputs.at("clip_rows").as<std::int64_t>(),
                       *columns = inputs.at("clip_columns").as<std::int64_t>();
    const float *row_weight = inputs.at("clip_row_weight").as<float>(),
                *column_weight = inputs.at("clip_column_weight").as<float>();
    const std::array<float, 256>& share = shares();
    std::vector<float> mixed(length);
    for (std::size_t y = 0; y < side; ++y) {
        const unsigned char* upper = picture.data() + static_cast<std::size_t>(rows[y]) * length;
        const unsigned char* lower = picture.data() + static_cast<std::size_t>(rows[side + y]) * length;
        const float first = row_weight[y], second = row_weight[side + y];
        for (std::size_t i = 0; i < length; ++i) mixed[i] = share[upper[i]] * first + share[lower[i]] * second;
        for (std::size_t x = 0; x < side; ++x) {
            const float* left = mixed.data() + static_cast<std::size_t>(columns[x]) * colors;
            const float* right = mixed.data() + static_cast<std::size_t>(columns[side + x]) * colors;
            for (std::size_t color = 0; color < colors; ++color) {
                small.as<float>()[(color * side + y) * side + x] =
                    left[color] * column_weight[x] + right[color] * column_weight[side + x];
            }
        }
    }
}

class HostCut : public Engine {
  public:
    void run(const Sizes&, const Arrays& inputs, const Arrays& outputs) override {
        cut_windows(inputs, outputs.at("windows"));
        resize_for_clip(inputs, outputs.at("clip_image"));
    }
};

}  // namespace

std::unique_ptr<Engine> host_cut() { return std::make_unique<HostCut>(); }

}  // namespace odise

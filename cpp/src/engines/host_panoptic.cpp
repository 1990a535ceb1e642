// The stage `panoptic` on a CPU: what its graph computes, tile by tile. Queries that cannot matter in a tile are left
// out by bounds, which is exact. See export/stages/panoptic.py for the graph, odise_trt/masks.py for the tiles.
#include "host_stages.hpp"

#include <algorithm>
#include <cmath>

namespace odise {

namespace {

constexpr std::int64_t tile_height = 32, tile_width = 64;
constexpr std::size_t codes = 256;
constexpr std::size_t taps = 4;
// Comparisons with bounds leave these margins for rounding.
constexpr float slack = 1e-5F, margin = 1 - 1e-5F;

float sigmoid(float logit) { return 1 / (1 + std::exp(-logit)); }

// Which elements of the masks make up some rows or columns of the output.
struct Axis4 {
    const std::int64_t* index;
    const float* weight;
    std::int64_t first, last;  // of the elements

    Axis4(const Array& indices, const Array& weights, std::int64_t start, std::int64_t stop)
        : index(indices.as<std::int64_t>() + start * std::int64_t{taps}),
          weight(weights.as<float>() + start * std::int64_t{taps}) {
        const auto [low, high] = std::minmax_element(index, index + (stop - start) * std::int64_t{taps});
        first = *low, last = *high;
    }
};

struct Tile {
    std::int64_t top, left;
    std::size_t rows, columns;
};

class HostPanoptic : public Engine {
  public:
    void run(const Sizes&, const Arrays& inputs, const Arrays& outputs) override {
        const Array& masks = inputs.at("pred_masks");
        const Array& column_counts = outputs.at("column_counts");
        const Array& whole = outputs.at("whole");
        const Array& row_counts = outputs.at("row_counts");
        const Array &counts_so_far = inputs.at("column_counts_so_far"), &whole_so_far = inputs.at("whole_so_far");
        std::copy_n(counts_so_far.data(), counts_so_far.bytes(), column_counts.data());
        std::copy_n(whole_so_far.data(), whole_so_far.bytes(), whole.data());
        std::fill_n(row_counts.as<float>(), row_counts.count(), 0.0F);
        const std::int64_t height = outputs.at("code").shape[0], width = outputs.at("code").shape[1];
        queries_ = static_cast<std::size_t>(masks.shape[1]);
        for (std::int64_t top = 0; top < height; top += tile_height) {
            const std::int64_t bottom = std::min(top + tile_height, height);
            const Axis4 rows(inputs.at("row_index"), inputs.at("row_weight"), top, bottom);
            for (std::int64_t left = 0; left < width; left += tile_width) {
                const std::int64_t right = std::min(left + tile_width, width);
                const Axis4 columns(inputs.at("column_index"), inputs.at("column_weight"), left, right);
                const Tile tile{top, left, static_cast<std::size_t>(bottom - top),
                                static_cast<std::size_t>(right - left)};
                fill(tile, rows, columns, masks, inputs.at("score").as<float>(), whole.as<std::int32_t>());
                count(tile, width, outputs.at("code").data(), row_counts.as<float>(), column_counts.as<float>());
            }
        }
    }

  private:
    std::size_t queries_ = 0;
    std::vector<float> low_, high_, logits_, best_, row_;
    std::vector<std::size_t> rivals_;
    std::vector<std::uint8_t> code_;

    // Winners of one tile, and how many pixels each mask has in it.
    void fill(const Tile& tile, const Axis4& rows, const Axis4& columns, const Array& masks, const float* score,
              std::int32_t* whole) {
        const std::size_t area = tile.rows * tile.columns;
        bound(rows, columns, masks);
        float least = 0;
        for (std::size_t q = 0; q < queries_; ++q) {
            if (score[q] >= 0) least = std::max(least, score[q] * sigmoid(low_[q]));
        }
        rivals_.clear();
        for (std::size_t q = 0; q < queries_; ++q) {
            if (score[q] >= 0 && score[q] * sigmoid(high_[q]) >= least * margin) rivals_.push_back(q);
        }
        // A pixel without a rival has the code of the first query, outside of its mask, as in the graph.
        code_.assign(area, 0);
        best_.assign(area, -1);
        logits_.resize(area);
        for (std::size_t q = 0; q < queries_; ++q) {
            const bool contends = std::binary_search(rivals_.begin(), rivals_.end(), q);
            const bool undecided = low_[q] < 0 && high_[q] >= 0;
            if (low_[q] >= 0) whole[q] += static_cast<std::int32_t>(area);
            if (!contends && !undecided) continue;
            resize(tile, rows, columns, masks, q);
            if (undecided) {
                whole[q] += static_cast<std::int32_t>(
                    std::count_if(logits_.begin(), logits_.end(), [](float one) { return one >= 0; }));
            }
            if (contends) compete(q, score[q]);
        }
    }

    // No logit of a query in the tile is below `low_` or above `high_`.
    void bound(const Axis4& rows, const Axis4& columns, const Array& masks) {
        low_.resize(queries_), high_.resize(queries_);
        const std::int64_t height = masks.shape[2], width = masks.shape[3];
        for (std::size_t q = 0; q < queries_; ++q) {
            const float* mask = masks.as<float>() + static_cast<std::int64_t>(q) * height * width;
            float low = mask[rows.first * width + columns.first], high = low;
            for (std::int64_t y = rows.first; y <= rows.last; ++y) {
                for (std::int64_t x = columns.first; x <= columns.last; ++x) {
                    low = std::min(low, mask[y * width + x]);
                    high = std::max(high, mask[y * width + x]);
                }
            }
            const float room = slack * (1 + std::max(std::abs(low), std::abs(high)));
            low_[q] = low - room, high_[q] = high + room;
        }
    }

    void resize(const Tile& tile, const Axis4& rows, const Axis4& columns, const Array& masks, std::size_t q) {
        const std::int64_t height = masks.shape[2], width = masks.shape[3];
        const float* mask = masks.as<float>() + static_cast<std::int64_t>(q) * height * width;
        const auto across = static_cast<std::size_t>(columns.last - columns.first + 1);
        row_.resize(across);
        for (std::size_t y = 0; y < tile.rows; ++y) {
            const std::int64_t* index = rows.index + y * taps;
            const float* weight = rows.weight + y * taps;
            const float* from[taps];
            for (std::size_t t = 0; t < taps; ++t) from[t] = mask + index[t] * width + columns.first;
            for (std::size_t x = 0; x < across; ++x) {
                row_[x] =
                    weight[0] * from[0][x] + weight[1] * from[1][x] + weight[2] * from[2][x] + weight[3] * from[3][x];
            }
            for (std::size_t x = 0; x < tile.columns; ++x) {
                const std::int64_t* at = columns.index + x * taps;
                const float* share = columns.weight + x * taps;
                float sum = 0;
                for (std::size_t t = 0; t < taps; ++t)
                    sum += share[t] * row_[static_cast<std::size_t>(at[t] - columns.first)];
                logits_[y * tile.columns + x] = sum;
            }
        }
    }

    void compete(std::size_t q, float score) {
        const float half = 0.5F * score;
        for (std::size_t i = 0; i < code_.size(); ++i) {
            const float value = sigmoid(logits_[i]) * score;
            if (value > best_[i]) {
                best_[i] = value;
                code_[i] = static_cast<std::uint8_t>(2 * q + (value >= half ? 1 : 0));
            }
        }
    }

    void count(const Tile& tile, std::int64_t width, std::uint8_t* code, float* row_counts,
               float* column_counts) const {
        for (std::size_t y = 0; y < tile.rows; ++y) {
            const auto row = static_cast<std::size_t>(tile.top) + y;
            for (std::size_t x = 0; x < tile.columns; ++x) {
                const auto column = static_cast<std::size_t>(tile.left) + x;
                const std::uint8_t one = code_[y * tile.columns + x];
                code[row * static_cast<std::size_t>(width) + column] = one;
                row_counts[row * codes + one] += 1;
                column_counts[column * codes + one] += 1;
            }
        }
    }
};

bool has(const std::vector<Tensor>& tensors, std::initializer_list<const char*> names) {
    return tensors.size() == names.size() && std::all_of(names.begin(), names.end(), [&](const char* name) {
               return std::any_of(tensors.begin(), tensors.end(), [&](const Tensor& one) { return one.name == name; });
           });
}

}  // namespace

std::unique_ptr<Engine> host_stage(const StageSpec& spec) {
    const bool known = spec.name == "panoptic" &&
                       has(spec.inputs, {"pred_masks", "score", "row_index", "row_weight", "column_index",
                                         "column_weight", "column_counts_so_far", "whole_so_far"}) &&
                       has(spec.outputs, {"code", "row_counts", "column_counts", "whole"});
    return known ? std::make_unique<HostPanoptic>() : nullptr;
}

}  // namespace odise

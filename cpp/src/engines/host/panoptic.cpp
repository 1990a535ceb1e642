// The stage `panoptic` on a CPU: what its graph computes, tile by tile. Queries that cannot matter in a tile are left
// out by bounds, which is exact. See export/stages/panoptic.py for the graph.
#include <algorithm>

#include "engines/engine.hpp"
#include "kernels.hpp"
#include "mask_tiles.hpp"

namespace odise {

namespace {

constexpr std::int64_t tile_rows = 32, tile_columns = 64;
constexpr std::size_t codes = 256;
// Comparisons with bounds leave this margin for rounding.
constexpr float margin = 1 - 1e-5F;

class HostPanoptic : public Engine {
  public:
    void run(const Sizes&, const Arrays& inputs, const Arrays& outputs) override {
        const Array &column_counts = outputs.at("column_counts"), &whole = outputs.at("whole");
        const Array& row_counts = outputs.at("row_counts");
        const Array &counts_so_far = inputs.at("column_counts_so_far"), &whole_so_far = inputs.at("whole_so_far");
        std::copy_n(counts_so_far.data(), counts_so_far.bytes(), column_counts.data());
        std::copy_n(whole_so_far.data(), whole_so_far.bytes(), whole.data());
        std::fill_n(row_counts.as<float>(), row_counts.count(), 0.0F);
        MaskTiles tiles(inputs, "column");
        const auto width = static_cast<std::size_t>(tiles.whole().right);
        for (const Rectangle& place : split(tiles.whole(), tile_rows, tile_columns)) {
            tiles.open(place);
            fill(tiles, inputs.at("score").as<float>(), whole.as<std::int32_t>());
            count(place, width, outputs.at("code").data(), row_counts.as<float>(), column_counts.as<float>());
        }
    }

  private:
    std::vector<float> logits_, best_;
    std::vector<char> contends_;
    std::vector<std::uint8_t> code_;

    // Winners of one tile, and how many pixels each mask has in it.
    void fill(MaskTiles& tiles, const float* score, std::int32_t* whole) {
        const std::size_t area = tiles.place().area();
        const std::vector<float>&low = tiles.low(), &high = tiles.high();
        float least = 0;
        for (std::size_t q = 0; q < tiles.queries(); ++q) {
            if (score[q] >= 0) least = std::max(least, score[q] * sigmoid(low[q]));
        }
        contends_.resize(tiles.queries());
        for (std::size_t q = 0; q < tiles.queries(); ++q) {
            contends_[q] = score[q] >= 0 && score[q] * sigmoid(high[q]) >= least * margin;
        }
        // A pixel without a rival has the code of the first query, outside of its mask, as in the graph.
        code_.assign(area, 0);
        best_.assign(area, -1);
        logits_.resize(area);
        for (std::size_t q = 0; q < tiles.queries(); ++q) {
            const bool contends = contends_[q] != 0, undecided = low[q] < 0 && high[q] >= 0;
            if (low[q] >= 0) whole[q] += static_cast<std::int32_t>(area);
            if (!contends && !undecided) continue;
            tiles.logits(q, logits_.data());
            if (undecided) {
                whole[q] += static_cast<std::int32_t>(
                    std::count_if(logits_.begin(), logits_.end(), [](float one) { return one >= 0; }));
            }
            if (contends) compete(q, score[q]);
        }
    }

    void compete(std::size_t q, float score) {
        kernels().sigmoid(logits_.data(), logits_.data(), logits_.size());
        const float half = 0.5F * score;
        const auto outside = static_cast<std::uint8_t>(2 * q), inside = static_cast<std::uint8_t>(2 * q + 1);
        for (std::size_t i = 0; i < code_.size(); ++i) {
            const float value = logits_[i] * score;
            if (value > best_[i]) {
                best_[i] = value;
                code_[i] = value >= half ? inside : outside;
            }
        }
    }

    void count(const Rectangle& place, std::size_t width, std::uint8_t* code, float* row_counts,
               float* column_counts) const {
        for (std::size_t y = 0; y < place.rows(); ++y) {
            const auto row = static_cast<std::size_t>(place.top) + y;
            for (std::size_t x = 0; x < place.columns(); ++x) {
                const auto column = static_cast<std::size_t>(place.left) + x;
                const std::uint8_t one = code_[y * place.columns() + x];
                code[row * width + column] = one;
                row_counts[row * codes + one] += 1;
                column_counts[column * codes + one] += 1;
            }
        }
    }
};

}  // namespace

std::unique_ptr<Engine> host_panoptic() { return std::make_unique<HostPanoptic>(); }

}  // namespace odise

// The stage `semantic` on a CPU, see odise_trt/semantic_map.py. Bounds of the mask probabilities in a rectangle leave
// few categories that can be the best somewhere in it, mostly one. Where there are more, its quarters are looked at,
// with tighter bounds, and in the end its pixels. This is exact, except for ties within rounding.
#include <algorithm>
#include <numeric>

#include "engines/engine.hpp"
#include "kernels.hpp"
#include "mask_tiles.hpp"

namespace odise {

namespace {

// Rectangles to begin with.
constexpr std::int64_t most_rows = 64, most_columns = 128;
// Rectangles whose pixels are looked at: smaller ones if many categories are left.
constexpr std::size_t leaf_rows = 8, leaf_columns = 32, least_rows = 4, most_scores = 1 << 14;
// Comparisons with bounds leave this margin for rounding.
constexpr float rounding = 1e-5F;
// Of its score, a pixel may lack so much: less than what rounding takes from a sum of as many terms.
constexpr float negligible = 1e-7F;

// Categories that may be the best in a rectangle, and their class probabilities (queries, categories).
struct Contenders {
    std::vector<std::int32_t> categories;
    std::vector<float> shares;

    std::size_t count() const { return categories.size(); }
};

class HostSemantic : public Engine {
  public:
    void run(const Sizes&, const Arrays& inputs, const Arrays& outputs) override {
        MaskTiles tiles(inputs, "column");
        const Array& probabilities = inputs.at("probabilities");
        out_ = outputs.at("semantic").as<std::int32_t>();
        width_ = static_cast<std::size_t>(tiles.whole().right);
        low_.resize(tiles.queries()), high_.resize(tiles.queries());
        Contenders all;
        all.categories.resize(static_cast<std::size_t>(probabilities.shape[1]));
        std::iota(all.categories.begin(), all.categories.end(), 0);
        all.shares.assign(probabilities.as<float>(), probabilities.as<float>() + probabilities.count());
        for (const Rectangle& place : split(tiles.whole(), most_rows, most_columns)) fill(tiles, place, all);
    }

  private:
    std::size_t width_ = 0;
    std::int32_t* out_ = nullptr;
    // Of the queries, in the rectangle at hand: bounds of their mask probabilities.
    std::vector<float> low_, high_;
    // Of the candidates: least and largest score, and how far they can be ahead of the leader.
    std::vector<float> least_, most_, ahead_;
    // Of the pixels: mask probabilities of the queries that vary, and scores.
    std::vector<std::size_t> vary_;
    std::vector<float> probability_, share_, score_, best_;
    std::vector<std::int32_t> winner_;

    void fill(MaskTiles& tiles, const Rectangle& place, const Contenders& candidates) {
        tiles.open(place);
        const Contenders contend = remaining(tiles, candidates);
        if (contend.count() == 1) {
            for (std::int64_t y = place.top; y < place.bottom; ++y) {
                std::fill_n(out_ + static_cast<std::size_t>(y) * width_ + place.left, place.columns(),
                            contend.categories[0]);
            }
        } else if (place.rows() <= leaf_rows && place.columns() <= leaf_columns &&
                   (contend.count() * place.area() <= most_scores || place.rows() <= least_rows)) {
            compare(tiles, contend, *std::max_element(least_.begin(), least_.end()));
        } else {
            const std::int64_t rows = (place.bottom - place.top + 1) / 2, columns = (place.right - place.left + 1) / 2;
            for (const Rectangle& part : split(place, rows, columns)) fill(tiles, part, contend);
        }
    }

    // The candidates that may have the largest score somewhere in the rectangle.
    Contenders remaining(const MaskTiles& tiles, const Contenders& candidates) {
        const std::size_t count = candidates.count(), queries = tiles.queries();
        least_.assign(count, 0), most_.assign(count, 0), ahead_.assign(count, 0);
        kernels().sigmoid(tiles.low().data(), low_.data(), queries);
        kernels().sigmoid(tiles.high().data(), high_.data(), queries);
        kernels().add_product(low_.data(), candidates.shares.data(), least_.data(), 1, queries, count);
        kernels().add_product(high_.data(), candidates.shares.data(), most_.data(), 1, queries, count);
        // The leader's score is large where that of others is, too: how far they can be ahead of it is a tighter
        // bound than a comparison of extremes.
        const auto leader = static_cast<std::size_t>(std::max_element(least_.begin(), least_.end()) - least_.begin());
        kernels().add_leads(candidates.shares.data(), leader, low_.data(), high_.data(), ahead_.data(), queries, count);
        std::vector<std::size_t> stay;
        for (std::size_t i = 0; i < count; ++i) {
            if (i == leader ||
                (most_[i] >= least_[leader] * (1 - rounding) && ahead_[i] >= -rounding * most_[leader])) {
                stay.push_back(i);
            }
        }
        Contenders found;
        found.categories.reserve(stay.size());
        for (const std::size_t i : stay) found.categories.push_back(candidates.categories[i]);
        if (stay.size() == 1) return found;
        found.shares.resize(queries * stay.size());
        float* to = found.shares.data();
        for (std::size_t q = 0; q < queries; ++q) {
            const float* row = candidates.shares.data() + q * count;
            for (const std::size_t i : stay) *to++ = row[i];
        }
        return found;
    }

    // Gives each pixel of the rectangle the first of the categories with the largest score.
    void compare(MaskTiles& tiles, const Contenders& contend, float least) {
        const std::size_t area = tiles.place().area(), count = contend.count(), queries = tiles.queries();
        score_.assign(count * area, 0);
        vary_.clear();
        for (std::size_t q = 0; q < queries; ++q) {
            const float* row = contend.shares.data() + q * count;
            const auto [first, last] = std::minmax_element(row, row + count);
            // A query that is the same everywhere, or the same for all, changes no order.
            if ((*last - *first) * (high_[q] - low_[q]) * static_cast<float>(queries) > negligible * least) {
                vary_.push_back(q);
                continue;
            }
            const float middle = (low_[q] + high_[q]) / 2;
            for (std::size_t i = 0; i < count; ++i) score_[i * area] += row[i] * middle;
        }
        for (std::size_t i = 0; i < count; ++i) std::fill_n(&score_[i * area + 1], area - 1, score_[i * area]);
        const std::size_t some = vary_.size();
        probability_.resize(some * area), share_.resize(count * some);
        for (std::size_t j = 0; j < some; ++j) {
            tiles.logits(vary_[j], probability_.data() + j * area);
            const float* row = contend.shares.data() + vary_[j] * count;
            for (std::size_t i = 0; i < count; ++i) share_[i * some + j] = row[i];
        }
        kernels().sigmoid(probability_.data(), probability_.data(), probability_.size());
        kernels().add_product(share_.data(), probability_.data(), score_.data(), count, some, area);
        best_.assign(score_.begin(), score_.begin() + static_cast<std::ptrdiff_t>(area));
        winner_.assign(area, contend.categories[0]);
        for (std::size_t i = 1; i < count; ++i) {
            kernels().keep_larger(score_.data() + i * area, contend.categories[i], best_.data(), winner_.data(), area);
        }
        const Rectangle& place = tiles.place();
        for (std::size_t y = 0; y < place.rows(); ++y) {
            std::copy_n(winner_.data() + y * place.columns(), place.columns(),
                        out_ + (static_cast<std::size_t>(place.top) + y) * width_ + place.left);
        }
    }
};

}  // namespace

std::unique_ptr<Engine> host_semantic() { return std::make_unique<HostSemantic>(); }

}  // namespace odise

// The stage `instances` on a CPU: what its graph computes, tile by tile, once for each query. See
// export/stages/instances.py for the graph.
#include <algorithm>
#include <map>

#include "engines/engine.hpp"
#include "kernels.hpp"
#include "mask_tiles.hpp"

namespace odise {

namespace {

// Columns are multiples of 8, the pixels of a byte.
constexpr std::int64_t tile_rows = 32, tile_columns = 64;

class HostInstances : public Engine {
  public:
    void run(const Sizes&, const Arrays& inputs, const Arrays& outputs) override {
        const Array& wanted = inputs.at("instance_query");
        const Array &bits = outputs.at("instance_bits"), &row_counts = outputs.at("instance_row_counts");
        const Array &column_counts = outputs.at("instance_column_counts"), &total = outputs.at("instance_total");
        const Array& counts_so_far = inputs.at("instance_column_counts_so_far");
        std::copy_n(counts_so_far.data(), counts_so_far.bytes(), column_counts.data());
        std::fill_n(bits.data(), bits.bytes(), static_cast<unsigned char>(0));
        std::fill_n(row_counts.as<float>(), row_counts.count(), 0.0F);
        // The places of each query among the objects.
        std::map<std::size_t, std::vector<std::size_t>> places;
        for (std::size_t i = 0; i < wanted.count(); ++i) {
            places[static_cast<std::size_t>(wanted.as<std::int64_t>()[i])].push_back(i);
        }
        objects_ = wanted.count();
        std::vector<double> sums(objects_, 0.0);
        MaskTiles tiles(inputs, "padded_column");
        for (const Rectangle& place : split(tiles.whole(), tile_rows, tile_columns)) {
            tiles.open(place);
            for (const auto& [query, objects] : places) {
                if (!(tiles.high()[query] > 0)) continue;
                const double sum = draw(tiles, query, objects, bits, row_counts.as<float>(), column_counts.as<float>());
                for (const std::size_t object : objects) sums[object] += sum;
            }
        }
        const float* total_so_far = inputs.at("instance_total_so_far").as<float>();
        for (std::size_t i = 0; i < objects_; ++i) total.as<float>()[i] = total_so_far[i] + static_cast<float>(sums[i]);
    }

  private:
    std::size_t objects_ = 0;
    std::vector<float> logits_, probability_;

    // Draws a mask into a tile of all its objects, counts its pixels, and returns the sum of its probability.
    double draw(MaskTiles& tiles, std::size_t query, const std::vector<std::size_t>& objects, const Array& bits,
                float* row_counts, float* column_counts) {
        const Rectangle& place = tiles.place();
        const std::size_t columns = place.columns(), bytes = static_cast<std::size_t>(bits.shape[2]);
        logits_.resize(place.area()), probability_.resize(place.area());
        tiles.logits(query, logits_.data());
        kernels().sigmoid(logits_.data(), probability_.data(), place.area());
        double sum = 0;
        for (std::size_t y = 0; y < place.rows(); ++y) {
            const float *logits = logits_.data() + y * columns, *probability = probability_.data() + y * columns;
            const std::size_t row = static_cast<std::size_t>(place.top) + y;
            std::size_t count = 0;
            for (std::size_t left = 0; left < columns; left += 8) {
                unsigned byte = 0;
                for (std::size_t x = left; x < left + 8; ++x) {
                    const bool inside = logits[x] > 0;
                    byte = byte << 1 | (inside ? 1U : 0U);
                    if (!inside) continue;
                    ++count;
                    sum += static_cast<double>(probability[x]);
                    float* column = column_counts + (static_cast<std::size_t>(place.left) + x) * objects_;
                    for (const std::size_t object : objects) column[object] += 1;
                }
                const std::size_t at = (static_cast<std::size_t>(place.left) + left) / 8;
                for (const std::size_t object : objects) {
                    bits.data()[(row * objects_ + object) * bytes + at] = static_cast<unsigned char>(byte);
                }
            }
            for (const std::size_t object : objects) row_counts[row * objects_ + object] += static_cast<float>(count);
        }
        return sum;
    }
};

}  // namespace

std::unique_ptr<Engine> host_instances() { return std::make_unique<HostInstances>(); }

}  // namespace odise

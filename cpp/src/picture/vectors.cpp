#include "vectors.hpp"

#include <algorithm>

#include "axis_map.hpp"
#include "vocabulary/table.hpp"

namespace odise {

namespace {

// Pixels along the side of one element of the coarsest feature map.
constexpr std::int64_t block = 32;
// Masks are packed into bytes.
constexpr std::int64_t bits = 8;

std::vector<std::int64_t> starts(std::int64_t length, std::int64_t side) {
    std::vector<std::int64_t> found;
    // The last window ends at the border.
    for (std::int64_t i = 0; i < (length + side - 1) / side; ++i) found.push_back(std::min(i * side, length - side));
    return found;
}

void window_tensors(const Grid& grid, const Size& picture, Arrays& arrays) {
    std::vector<std::int64_t> rows, columns;
    std::vector<float> row_inside, column_inside;
    for (const auto& [top, left] : grid.corners) {
        for (std::int64_t i = 0; i < grid.side; ++i) {
            const std::int64_t row = top + i, column = left + i;
            rows.push_back(row < picture.height ? row * picture.width : 0);
            columns.push_back(column < picture.width ? column : 0);
            row_inside.push_back(row < picture.height ? 1.0F : 0.0F);
            column_inside.push_back(column < picture.width ? 1.0F : 0.0F);
        }
    }
    const Shape shape = {static_cast<std::int64_t>(grid.corners.size()), grid.side};
    arrays["picture.window_rows"] = Array::of(Dtype::int64, shape, rows);
    arrays["picture.window_columns"] = Array::of(Dtype::int64, shape, columns);
    arrays["picture.row_inside"] = Array::of(Dtype::float32, shape, row_inside);
    arrays["picture.column_inside"] = Array::of(Dtype::float32, shape, column_inside);
}

void clip_tensors(const std::string& name, std::int64_t length, std::int64_t side, Arrays& arrays) {
    const AxisMap map = AxisMap::bilinear(length, side);
    const Array index = Array::empty(Dtype::int64, {2, side}), weight = Array::empty(Dtype::float32, {2, side});
    const auto count = static_cast<std::size_t>(side);
    for (std::size_t i = 0; i < count; ++i) {
        for (std::size_t tap = 0; tap < 2; ++tap) {
            index.as<std::int64_t>()[tap * count + i] = map.index[2 * i + tap];
            weight.as<float>()[tap * count + i] = static_cast<float>(map.weight[2 * i + tap]);
        }
    }
    arrays["picture.clip_" + name + "s"] = index;
    arrays["picture.clip_" + name + "_weight"] = weight;
}

// Which blocks of which windows make up each block of the whole, and their shares.
void stitch_tensors(const Grid& grid, Arrays& arrays) {
    const std::int64_t rows = grid.height / block, columns = grid.width / block, side = grid.side / block;
    std::vector<std::vector<std::int64_t>> over(static_cast<std::size_t>(rows * columns));
    std::int64_t number = 0;
    for (const auto& [top, left] : grid.corners) {
        for (std::int64_t row = top / block; row < top / block + side; ++row) {
            for (std::int64_t column = left / block; column < left / block + side; ++column) {
                over[static_cast<std::size_t>(row * columns + column)].push_back(number++);
            }
        }
    }
    std::size_t taps = 0;
    for (const auto& some : over) taps = std::max(taps, some.size());
    const Shape shape = {static_cast<std::int64_t>(taps), rows, columns};
    const Array index = Array::empty(Dtype::int64, shape), weight = Array::empty(Dtype::float32, shape);
    for (std::size_t tap = 0; tap < taps; ++tap) {
        for (std::size_t i = 0; i < over.size(); ++i) {
            const auto& some = over[i];
            const bool there = tap < some.size();
            index.as<std::int64_t>()[tap * over.size() + i] = some[there ? tap : 0];
            weight.as<float>()[tap * over.size() + i] =
                there ? static_cast<float>(1.0 / static_cast<double>(some.size())) : 0.0F;
        }
    }
    arrays["picture.tap_block"] = index;
    arrays["picture.tap_weight"] = weight;
}

// `rest`: rows without weight at the end.
void taps_of(const std::string& name, const AxisMap& axis, std::size_t rest, Arrays& arrays) {
    const AxisMap map = axis.merged();
    const std::size_t length = map.length() + rest;
    const Shape shape = {static_cast<std::int64_t>(length), static_cast<std::int64_t>(map.taps)};
    const Array index = Array::zeros(Dtype::int64, shape), weight = Array::zeros(Dtype::float32, shape);
    std::copy(map.index.begin(), map.index.end(), index.as<std::int64_t>());
    std::transform(map.weight.begin(), map.weight.end(), weight.as<float>(),
                   [](double one) { return static_cast<float>(one); });
    arrays["picture." + name + "_index"] = index;
    arrays["picture." + name + "_weight"] = weight;
}

}  // namespace

Grid Grid::over(const Size& padded, std::int64_t window) {
    Grid grid{padded.height, padded.width, std::min({window, padded.height, padded.width}), {}};
    const auto lefts = starts(padded.width, grid.side);
    for (const std::int64_t top : starts(padded.height, grid.side)) {
        for (const std::int64_t left : lefts) grid.corners.emplace_back(top, left);
    }
    return grid;
}

Arrays picture_tensors(const PictureSize& size) {
    Arrays arrays;
    const Grid grid = Grid::over(size.padded, size.window);
    window_tensors(grid, size.picture, arrays);
    clip_tensors("row", size.picture.height, size.clip_side, arrays);
    clip_tensors("column", size.picture.width, size.clip_side, arrays);
    stitch_tensors(grid, arrays);
    // To the padded picture, and from its part without padding to the output.
    const auto map = [&](std::int64_t whole, std::int64_t part, std::int64_t out) {
        return AxisMap::bilinear(whole / size.mask_stride, whole).then(AxisMap::bilinear(part, out));
    };
    const AxisMap rows = map(size.padded.height, size.picture.height, size.output.height);
    const AxisMap columns = map(size.padded.width, size.picture.width, size.output.width);
    taps_of("row", rows, 0, arrays);
    taps_of("column", columns, 0, arrays);
    taps_of("padded_column", columns, static_cast<std::size_t>((bits - size.output.width % bits) % bits), arrays);
    return arrays;
}

Arrays vocabulary_tensors(const Table& table, double alpha, double beta) {
    Arrays arrays;
    arrays["vocabulary.text_embed"] = unit(table.text_embed);
    arrays["vocabulary.clip_text_embed"] = unit(table.clip_text_embed);
    std::size_t most = 0;
    for (const Category& category : table.categories) most = std::max(most, category.names.size());
    std::vector<std::int64_t> synonyms;
    std::vector<float> clip_weight, isthing;
    std::int64_t first = 0;
    for (const Category& category : table.categories) {
        const auto names = static_cast<std::int64_t>(category.names.size());
        for (std::int64_t i = 0; i < static_cast<std::int64_t>(most); ++i) {
            synonyms.push_back(first + std::min(i, names - 1));
        }
        first += names;
        clip_weight.push_back(static_cast<float>(category.seen ? alpha : beta));
        isthing.push_back(category.isthing ? 1.0F : 0.0F);
    }
    const auto categories = static_cast<std::int64_t>(table.categories.size());
    arrays["vocabulary.synonyms"] = Array::of(Dtype::int64, {categories, static_cast<std::int64_t>(most)}, synonyms);
    arrays["vocabulary.clip_weight"] = Array::of(Dtype::float32, {categories}, clip_weight);
    arrays["vocabulary.isthing"] = Array::of(Dtype::float32, {categories}, isthing);
    return arrays;
}

Arrays request_tensors(double object_mask_threshold, double overlap_threshold) {
    const auto one = [](double value) {
        return Array::of(Dtype::float32, {1}, std::vector<float>{static_cast<float>(value)});
    };
    return {{"request.object_mask_threshold", one(object_mask_threshold)},
            {"request.overlap_threshold", one(overlap_threshold)}};
}

}  // namespace odise

// Masks at the size of the output, a rectangle at a time. See odise_trt/masks.py: resizing is linear and separable,
// so a few elements of the masks bound every logit in a rectangle, and most queries are not resized there at all.
#pragma once

#include <string>
#include <vector>

#include "array.hpp"

namespace odise {

// Pixels of the output: rows `top` to `bottom`, columns `left` to `right`, each without the last.
struct Rectangle {
    std::int64_t top, left, bottom, right;

    std::size_t rows() const { return static_cast<std::size_t>(bottom - top); }
    std::size_t columns() const { return static_cast<std::size_t>(right - left); }
    std::size_t area() const { return rows() * columns(); }
};

// Rectangles of at most `rows` x `columns` that cover `whole`, row by row.
std::vector<Rectangle> split(const Rectangle& whole, std::int64_t rows, std::int64_t columns);

class MaskTiles {
  public:
    // Of the inputs of a stage: pred_masks, row_index, row_weight, and the same two of `columns`. They must outlive it.
    MaskTiles(const Arrays& inputs, const std::string& columns);

    std::size_t queries() const { return queries_; }
    // The whole output.
    Rectangle whole() const { return {0, 0, rows_.count, columns_.count}; }

    // Moves to a rectangle: `low`, `high` and `logits` are about it.
    void open(const Rectangle& place);
    const Rectangle& place() const { return place_; }
    // No logit of a query in the rectangle is below or above these.
    const std::vector<float>& low() const { return low_; }
    const std::vector<float>& high() const { return high_; }
    // The logits of a query, row by row, `place().area()` of them.
    void logits(std::size_t query, float* out);

  private:
    // A sparse map along an axis, with so many weights for each row or column of the output.
    struct Axis {
        const std::int64_t* index;
        const float* weight;
        std::int64_t count;
    };
    // Elements of the masks that some rows or columns of the output are made of: the first and the last one.
    struct Span {
        std::int64_t first, last;
        std::size_t length() const { return static_cast<std::size_t>(last - first + 1); }
    };

    const float* masks_;
    std::size_t queries_;
    std::int64_t height_, width_;
    Axis rows_, columns_;
    Rectangle place_{};
    Span across_{}, down_{};
    std::vector<float> low_, high_;
    // The map of the columns: (used_, columns), of the elements in a row.
    std::size_t used_ = 0;
    std::vector<std::int32_t> places_;
    std::vector<float> shares_, wide_, extremes_;

    static Span span_of(const Axis& axis, std::int64_t start, std::int64_t stop);
    void bound();
};

}  // namespace odise

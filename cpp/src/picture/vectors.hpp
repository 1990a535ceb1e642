// What the host gives to the steps of a pipeline. See odise_trt/chains/vectors.py, which says what each tensor
// is: these are equal bit for bit.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "array.hpp"

namespace odise {

struct Table;

// Height and width.
struct Size {
    std::int64_t height = 0, width = 0;

    bool operator==(const Size& other) const { return height == other.height && width == other.width; }
};

// All sizes that the tensors of a picture depend on.
struct PictureSize {
    Size picture;  // resized
    Size padded;
    Size output;
    std::int64_t window;
    std::int64_t clip_side;
    std::int64_t mask_stride = 4;

    bool operator==(const PictureSize& other) const {
        return picture == other.picture && padded == other.padded && output == other.output && window == other.window &&
               clip_side == other.clip_side && mask_stride == other.mask_stride;
    }
};

// Square windows over the padded picture, row by row. See odise_trt/windows.py.
struct Grid {
    std::int64_t height, width, side;
    std::vector<std::pair<std::int64_t, std::int64_t>> corners;  // top and left of every window

    static Grid over(const Size& padded, std::int64_t window);
};

// Every tensor "picture.*" but the pixels.
Arrays picture_tensors(const PictureSize& size);
// Every tensor "vocabulary.*".
Arrays vocabulary_tensors(const Table& table, double alpha, double beta);
// Every tensor "request.*".
Arrays request_tensors(double object_mask_threshold, double overlap_threshold);

}  // namespace odise

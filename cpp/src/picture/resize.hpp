// Pillow's bilinear resize of 8-bit pixels, bit for bit, and the size that pictures are resized to.
#pragma once

#include <cstdint>
#include <vector>

#include "vectors.hpp"

namespace odise {

// Pixels of a caller: rows of 3 channels, `stride` bytes from one row to the next (negative: bottom up).
struct Pixels {
    const std::uint8_t* data;
    Size size;
    std::int64_t stride;
    bool is_bgr;
    bool on_gpu = false;        // `data` is memory of a GPU
    std::uintptr_t stream = 0;  // then: what makes the pixels is queued there. 0: they are there
};

// As odise_trt/preprocess.py: the shorter side becomes `short_side`, unless the longer would exceed `max_side`.
Size shortest_size(const Size& size, std::int64_t short_side, std::int64_t max_side);

// Each pass rounds to 8 bits, so their order matters. Pillow 13 takes the rows first where that leaves out more;
// versions before it always take the columns first.
bool rows_come_first(const Size& from, const Size& to);

// What one pass of the stage `resize` takes, see odise_trt/resampling.py: "index", "high" and "low", each (out, taps).
Arrays resample_tensors(std::int64_t size, std::int64_t out);

// uint8 (height, width, 3) in RGB, by Pillow's bilinear filter, which averages when it shrinks.
Array resized(const Pixels& pixels, const Size& to);

}  // namespace odise

// One piece of memory for all tensors between the steps, planned before the first step runs. See
// odise_trt/pipeline/arena.py, which says why it is done so.
#pragma once

#include "bundle/manifest.hpp"
#include "tensor.hpp"

namespace odise {

// A step with the sizes of one picture.
struct SizedStep {
    const Step* step;
    const StageSpec* spec;
    Sizes sizes;  // of all runs together

    // The whole size of the axis that it is repeated over. 1: it runs once.
    std::int64_t runs_over() const { return step->repeat.empty() ? 1 : sizes.at(step->repeat); }
    Shape shape(const Tensor& tensor) const { return tensor.resolve(sizes); }
    // In a run that takes `count` of the repeated axis.
    Shape part(const Tensor& tensor, std::int64_t count) const;
    // Whether every run finds its part of an aligned tensor at an aligned address.
    bool parts_are_aligned(const Tensor& tensor, std::int64_t per_run) const;
    std::string name_of(const Tensor& tensor) const { return step->stage + "." + tensor.name; }
    // The block that holds one part of a tensor whose parts are not aligned.
    std::string part_name(const Tensor& tensor) const { return name_of(tensor) + " part"; }
};

// The sizes of every axis, step by step, from the shapes of what the host gives. Throws BackendError.
std::vector<SizedStep> size_steps(const Manifest& manifest, const std::vector<const Step*>& steps, Shapes given);

// A tensor that needs memory from the first to the last step that uses it.
struct Block {
    std::string name;
    std::size_t bytes;
    std::size_t first, last;

    std::size_t room() const { return aligned(bytes); }
    bool meets(const Block& other) const { return first <= other.last && other.first <= last; }
};

struct Arena {
    std::map<std::string, std::size_t> offsets;  // "stage.tensor" -> its first byte
    std::size_t bytes = 0;
    std::size_t least = 0;  // the most bytes that live at the same time: no arena can be smaller
};

// Stage of a repeated step -> how much of the axis a run takes.
using PerRun = std::map<std::string, std::int64_t>;

// The tensors that the steps make but those in `elsewhere`, and the second memory of those that are carried, or whose
// parts are not aligned.
std::vector<Block> lifetimes(const std::vector<SizedStep>& steps, const PerRun& per_run, const Shapes& elsewhere);
// Gives every block an offset, the largest first.
Arena place(std::vector<Block> blocks);

inline std::int64_t count_of(const PerRun& per_run, const std::string& stage) {
    const auto found = per_run.find(stage);
    return found == per_run.end() ? 1 : found->second;
}

}  // namespace odise

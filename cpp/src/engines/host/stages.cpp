#include "stages.hpp"

#include <algorithm>

namespace odise {

std::unique_ptr<Engine> host_cut();
std::unique_ptr<Engine> host_stitch();
std::unique_ptr<Engine> host_panoptic();
std::unique_ptr<Engine> host_semantic();
std::unique_ptr<Engine> host_instances();

namespace {

// A stage of this name with exactly these inputs and outputs is computed here.
struct Known {
    const char* name;
    std::unique_ptr<Engine> (*open)();
    std::vector<std::string> inputs, outputs;
};

const std::vector<Known>& known() {
    static const std::vector<Known> all = {
        {"cut",
         host_cut,
         {"picture", "window_rows", "window_columns", "row_inside", "column_inside", "clip_rows", "clip_row_weight",
          "clip_columns", "clip_column_weight"},
         {"windows", "clip_image"}},
        {"stitch",
         host_stitch,
         {"s2_windows", "s3_windows", "s4_windows", "s5_windows", "tap_block", "tap_weight"},
         {"s2", "s3", "s4", "s5", "maps_not_finite"}},
        {"panoptic",
         host_panoptic,
         {"pred_masks", "score", "row_index", "row_weight", "column_index", "column_weight", "column_counts_so_far",
          "whole_so_far"},
         {"code", "row_counts", "column_counts", "whole"}},
        {"semantic",
         host_semantic,
         {"pred_masks", "probabilities", "row_index", "row_weight", "column_index", "column_weight"},
         {"semantic"}},
        {"instances",
         host_instances,
         {"pred_masks", "instance_query", "row_index", "row_weight", "padded_column_index", "padded_column_weight",
          "instance_column_counts_so_far", "instance_total_so_far"},
         {"instance_bits", "instance_row_counts", "instance_column_counts", "instance_total"}},
    };
    return all;
}

bool has(const std::vector<Tensor>& tensors, const std::vector<std::string>& names) {
    return tensors.size() == names.size() && std::all_of(names.begin(), names.end(), [&](const std::string& name) {
               return std::any_of(tensors.begin(), tensors.end(), [&](const Tensor& one) { return one.name == name; });
           });
}

// All stages here compute in float32: maps in half precision are left to the graph.
bool half(const std::vector<Tensor>& tensors) {
    return std::any_of(tensors.begin(), tensors.end(), [](const Tensor& one) { return one.dtype == Dtype::float16; });
}

}  // namespace

std::unique_ptr<Engine> host_stage(const StageSpec& spec) {
    if (half(spec.inputs) || half(spec.outputs)) return nullptr;
    for (const Known& one : known()) {
        if (one.name == spec.name && has(spec.inputs, one.inputs) && has(spec.outputs, one.outputs)) return one.open();
    }
    return nullptr;
}

}  // namespace odise

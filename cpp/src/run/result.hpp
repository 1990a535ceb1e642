// From what the steps of a picture made to results. See odise_trt/chains/read_back.py.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "chain.hpp"
#include "error.hpp"
#include "picture/vectors.hpp"
#include "vocabulary/table.hpp"

namespace odise {

struct Region {
    int category_id;
    float score;
    std::int64_t area;
    int x, y, width, height;
    std::shared_ptr<std::vector<std::uint8_t>> mask;  // Of objects. Objects of one query share it.
};

class DeviceMemory;

struct Result {
    Size size;
    std::shared_ptr<const Table> table;
    Array panoptic, semantic;  // Without memory: the task was not asked for, or the map is on the GPU.
    std::shared_ptr<DeviceMemory> panoptic_on_gpu, semantic_on_gpu;
    std::string note;  // what was done otherwise than usual
    std::vector<Region> segments, instances;
    Timings timings;
};

// A feature map without the places of the padding.
struct FeatureMap {
    std::string name;
    std::int64_t channels, height, width, stride;
    std::vector<float> values;
};

// The maps of a result, and the tensors that it is made of. Maps are the last: without them the rest is one piece.
constexpr const char* panoptic_map = "paint.panoptic";
constexpr const char* semantic_map = "semantic.semantic";
const std::vector<std::string>& result_reads();

// The error for numbers that are not finite.
Error not_finite(const std::string& stage, const std::string& tensor);
// Throws BackendError if an engine gave numbers that are not finite. It names the first such engine.
void check_finite(const Arrays& arrays);
// The same for feature maps alone.
void check_maps(const Arrays& arrays);
// A map of the padded picture, cut to the picture. Throws BackendError if it is neither float32 nor float16.
FeatureMap map_of(const Tensor& tensor, const Array& array, const Size& picture);
// Fills what the arrays have.
void read_result(const Arrays& arrays, Result& result);

}  // namespace odise

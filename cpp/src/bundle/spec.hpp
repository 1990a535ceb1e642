// The declaration of stages and the steps of a pipeline, as data. See odise_trt/stage_spec.py and
// odise_trt/pipeline/step.py, which say what each field means.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "text/typed_json.hpp"

namespace odise {

using Shape = std::vector<std::int64_t>;
// Axis -> size.
using Sizes = std::map<std::string, std::int64_t>;

enum class Dtype { float32, float16, int64, int32, uint8 };

std::string name_of(Dtype dtype);
std::size_t bytes_of(Dtype dtype);

// A fixed size (then `axis` is empty), or the size of an axis divided by `divisor`.
struct Dimension {
    std::int64_t size = 0;
    std::string axis;
    std::int64_t divisor = 1;

    bool operator==(const Dimension& other) const {
        return size == other.size && axis == other.axis && divisor == other.divisor;
    }
    std::string text() const;
};

struct Tensor {
    std::string name;
    Dtype dtype = Dtype::float32;
    std::vector<Dimension> shape;

    // The shape for sizes of axes. Throws BackendError if one is unknown or not divisible.
    Shape resolve(const Sizes& sizes) const;
};

struct Range {
    std::int64_t least, typical, most;
};

struct Axis {
    std::string name;
    Range range;
    std::int64_t multiple = 1;
};

struct Profile {
    std::string name;
    std::vector<std::pair<std::string, Range>> ranges;

    const Range* find(const std::string& axis) const;
};

struct StageSpec {
    std::string name;
    std::vector<Tensor> inputs, outputs;
    std::vector<Axis> axes;
    std::vector<Profile> profiles;
    bool concrete = true;  // False: a dtype is that of the build, which no bundle has.

    // Throws BundleError if there is no such axis.
    const Axis& axis(const std::string& axis_name) const;
    const Tensor* input(const std::string& tensor) const;
    const Tensor* output(const std::string& tensor) const;
    // Throws MisfitError unless shapes and profiles name axes of the stage, and all sizes are in order.
    void check() const;
};

struct Step {
    std::string stage;
    std::map<std::string, std::string> inputs;   // input -> "source.tensor"
    std::vector<std::string> tasks;              // Empty: all.
    std::string repeat;                          // "windows", "rows" or "".
    std::map<std::string, std::string> carried;  // output -> input of the next run

    bool serves(const std::vector<std::string>& wanted) const;
    bool is_repeated(const Tensor& tensor) const;
};

// Adds the sizes of the axes of one input. Throws BackendError if a shape does not fit the declaration.
void learn_sizes(const StageSpec& spec, const Tensor& tensor, const Shape& shape, Sizes& sizes);
// Throws BackendError if an axis is outside of its range, or no multiple of what it has to be.
void check_sizes(const StageSpec& spec, const Sizes& sizes);

StageSpec read_spec(const Placed& placed);
Step read_step(const Placed& placed);
// Throws MisfitError unless every input of a step is there when it is needed, in the declared dtype.
void check_pipeline(const std::vector<Step>& steps, const std::map<std::string, const StageSpec*>& stages);

}  // namespace odise

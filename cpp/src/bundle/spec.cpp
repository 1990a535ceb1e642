#include "spec.hpp"

#include <algorithm>

#include "error.hpp"
#include "text/python_text.hpp"

namespace odise {

std::string name_of(Dtype dtype) {
    switch (dtype) {
        case Dtype::float32:
            return "float32";
        case Dtype::float16:
            return "float16";
        case Dtype::int64:
            return "int64";
        case Dtype::int32:
            return "int32";
        case Dtype::uint8:
            return "uint8";
    }
    return {};
}

std::size_t bytes_of(Dtype dtype) {
    switch (dtype) {
        case Dtype::float32:
            return 4;
        case Dtype::float16:
            return 2;
        case Dtype::int64:
            return 8;
        case Dtype::int32:
            return 4;
        case Dtype::uint8:
            return 1;
    }
    return 0;
}

std::string Dimension::text() const {
    if (axis.empty()) return std::to_string(size);
    return divisor == 1 ? axis : axis + "/" + std::to_string(divisor);
}

Shape Tensor::resolve(const Sizes& sizes) const {
    Shape out;
    for (const Dimension& dimension : shape) {
        if (dimension.axis.empty()) {
            out.push_back(dimension.size);
            continue;
        }
        const auto found = sizes.find(dimension.axis);
        if (found == sizes.end()) {
            throw backend_error("the inputs do not say how large " + name + " is: '" + dimension.axis + "'");
        }
        if (found->second % dimension.divisor != 0) {
            throw backend_error("the inputs do not say how large " + name + " is: " + dimension.axis + "=" +
                                std::to_string(found->second) + " is not a multiple of " +
                                std::to_string(dimension.divisor) + " (" + dimension.text() + ")");
        }
        out.push_back(found->second / dimension.divisor);
    }
    return out;
}

const Range* Profile::find(const std::string& axis) const {
    for (const auto& [name_of_axis, range] : ranges) {
        if (name_of_axis == axis) return &range;
    }
    return nullptr;
}

const Axis& StageSpec::axis(const std::string& axis_name) const {
    std::vector<std::string> have;
    for (const Axis& one : axes) {
        if (one.name == axis_name) return one;
        have.push_back(one.name);
    }
    throw bundle_error("stage " + name + " has no axis " + repr(axis_name) +
                           " (it has: " + (have.empty() ? "none" : joined(have)) + ")",
                       "build the bundle again");
}

namespace {

const Tensor* find(const std::vector<Tensor>& tensors, const std::string& name) {
    for (const Tensor& tensor : tensors) {
        if (tensor.name == name) return &tensor;
    }
    return nullptr;
}

}  // namespace

const Tensor* StageSpec::input(const std::string& tensor) const { return find(inputs, tensor); }
const Tensor* StageSpec::output(const std::string& tensor) const { return find(outputs, tensor); }

void StageSpec::check() const {
    const auto is_axis = [&](const std::string& one) {
        return std::any_of(axes.begin(), axes.end(), [&](const Axis& axis) { return axis.name == one; });
    };
    for (const auto* tensors : {&inputs, &outputs}) {
        for (const Tensor& tensor : *tensors) {
            for (const Dimension& dimension : tensor.shape) {
                if (!dimension.axis.empty() && !is_axis(dimension.axis)) {
                    throw MisfitError(
                        name, "has " + tensor.name + " with " + cut(repr(dimension.text()), 60) + ", which is no axis");
                }
            }
        }
    }
    const auto in_order = [&](const std::string& axis, const Range& range) {
        if (!is_axis(axis) || range.least > range.typical || range.typical > range.most) {
            throw MisfitError(name, "has " + axis + " from " + std::to_string(range.least) + " to " +
                                        std::to_string(range.most) + ", typically " + std::to_string(range.typical));
        }
    };
    for (const Axis& axis : axes) in_order(axis.name, axis.range);
    for (const Profile& profile : profiles) {
        for (const auto& [axis, range] : profile.ranges) in_order(axis, range);
    }
}

bool Step::serves(const std::vector<std::string>& wanted) const {
    return tasks.empty() || std::any_of(wanted.begin(), wanted.end(), [&](const std::string& task) {
               return std::find(tasks.begin(), tasks.end(), task) != tasks.end();
           });
}

bool Step::is_repeated(const Tensor& tensor) const {
    return !repeat.empty() && !tensor.shape.empty() && tensor.shape[0].axis == repeat;
}

void learn_sizes(const StageSpec& spec, const Tensor& tensor, const Shape& shape, Sizes& sizes) {
    const auto misfit = [&](const std::string& why = {}) {
        std::vector<std::string> declared;
        for (const Dimension& dimension : tensor.shape) declared.push_back(dimension.text());
        return backend_error("stage " + spec.name + ": input " + tensor.name + " has shape " + tuple_of(shape) +
                             ", declared (" + joined(declared) + ")" + why);
    };
    if (shape.size() != tensor.shape.size()) throw misfit();
    for (std::size_t i = 0; i < shape.size(); ++i) {
        const Dimension& dimension = tensor.shape[i];
        if (dimension.axis.empty()) {
            if (shape[i] != dimension.size) throw misfit();
            continue;
        }
        const std::int64_t size = shape[i] * dimension.divisor;
        const auto known = sizes.emplace(dimension.axis, size).first;
        if (known->second != size) {
            throw misfit("; " + dimension.axis + " is " + std::to_string(known->second) + " in the inputs before it");
        }
    }
}

void check_sizes(const StageSpec& spec, const Sizes& sizes) {
    for (const auto& [name, size] : sizes) {
        const Axis& axis = spec.axis(name);
        const std::string is = "stage " + spec.name + ": " + name + " is " + std::to_string(size) + ", ";
        if (size < axis.range.least || size > axis.range.most) {
            throw backend_error(is + "it can be " + std::to_string(axis.range.least) + " to " +
                                std::to_string(axis.range.most));
        }
        if (size % axis.multiple != 0) throw backend_error(is + "not a multiple of " + std::to_string(axis.multiple));
    }
}

}  // namespace odise

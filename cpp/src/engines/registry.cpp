#include <algorithm>

#include "engine.hpp"
#include "error.hpp"
#include "text/python_text.hpp"

namespace odise {

#ifdef ODISE_WITH_OPENVINO
std::unique_ptr<Backend> open_openvino(const EngineOptions& options);
#endif
#ifdef ODISE_WITH_ONNXRUNTIME
std::unique_ptr<Backend> open_onnxruntime(const EngineOptions& options);
#endif
#ifdef ODISE_WITH_ONNXRUNTIME_CUDA
std::unique_ptr<Backend> open_onnxruntime_cuda(const EngineOptions& options);
#endif
#ifdef ODISE_WITH_TENSORRT
std::unique_ptr<Backend> open_tensorrt(const EngineOptions& options);
#endif
#ifdef ODISE_WITH_TENSORRT_RTX
std::unique_ptr<Backend> open_tensorrt_rtx(const EngineOptions& options);
#endif

namespace {

struct Entry {
    std::string name;
    std::unique_ptr<Backend> (*open)(const EngineOptions&);
};

// Empty if nothing was built in.
std::vector<Entry>& entries() {
    static std::vector<Entry> all = {
#ifdef ODISE_WITH_OPENVINO
        {"openvino", open_openvino},
#endif
#ifdef ODISE_WITH_ONNXRUNTIME
        {"onnxruntime", open_onnxruntime},
#endif
#ifdef ODISE_WITH_ONNXRUNTIME_CUDA
        {"onnxruntime_cuda", open_onnxruntime_cuda},
#endif
#ifdef ODISE_WITH_TENSORRT
        {"tensorrt", open_tensorrt},
#endif
#ifdef ODISE_WITH_TENSORRT_RTX
        {"tensorrt_rtx", open_tensorrt_rtx},
#endif
    };
    return all;
}

}  // namespace

std::vector<std::string> engine_names() {
    std::vector<std::string> names;
    for (const Entry& entry : entries()) names.push_back(entry.name);
    return names;
}

void add_engine(const std::string& name, std::unique_ptr<Backend> (*open)(const EngineOptions&)) {
    entries().insert(entries().begin(), {name, open});
}

std::unique_ptr<Backend> open_backend(const std::string& name, const EngineOptions& options) {
    for (const Entry& entry : entries()) {
        if (entry.name == name) return entry.open(options);
    }
    const std::string have = engine_names().empty() ? "none" : joined(engine_names());
    const bool reads_onnx = name == "onnxruntime" && have.find("openvino") != std::string::npos;
    throw backend_error("this libodise_trt was built without " + repr(name) + " (it has: " + have + ")",
                        reads_onnx ? "ask for the engine openvino: it runs the same ONNX files"
                                   : "build it with that library, or build the bundle for one it has");
}

Sizes held_axes(const StageSpec& spec) {
    Sizes held;
    for (const Profile& profile : spec.profiles) {
        for (const auto& [axis, range] : profile.ranges) {
            // The first profile is for the usual size.
            if (range.least == range.most) held.emplace(axis, range.least);
        }
    }
    return held;
}

std::string batch_axis(const StageSpec& spec) {
    if (spec.outputs.empty() || spec.outputs[0].shape.empty()) return {};
    const Dimension& first = spec.outputs[0].shape[0];
    if (first.axis.empty()) return {};
    for (const Tensor& tensor : spec.outputs) {
        if (tensor.shape.empty() || !(tensor.shape[0] == first)) return {};
    }
    for (const auto* tensors : {&spec.inputs, &spec.outputs}) {
        for (const Tensor& tensor : *tensors) {
            const auto is_first = [&](const Dimension& one) { return one.axis == first.axis; };
            if (tensor.shape.size() > 1 && std::any_of(tensor.shape.begin() + 1, tensor.shape.end(), is_first))
                return {};
        }
    }
    return first.axis;
}

}  // namespace odise

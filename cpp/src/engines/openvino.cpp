// OpenVINO on the CPU. See odise_trt/backends/openvino.py: the same settings, so the same numbers.
#include <openvino/openvino.hpp>

#include <algorithm>
#include <iterator>

#include "declaration.hpp"
#include "engine.hpp"
#include "error.hpp"
#include "files/files.hpp"
#include "text/python_text.hpp"

namespace odise {

namespace {

constexpr const char* in_fp32 = "build the bundle in fp32: --precision fp32";
// Stages with files larger than this free their scratch memory after each run.
constexpr std::uint64_t shrink_from = 32 << 20;

ov::element::Type type_of(Dtype dtype) {
    switch (dtype) {
        case Dtype::float32:
            return ov::element::f32;
        case Dtype::float16:
            return ov::element::f16;
        case Dtype::int64:
            return ov::element::i64;
        case Dtype::int32:
            return ov::element::i32;
        case Dtype::uint8:
            return ov::element::u8;
    }
    return {};
}

std::string type_name(const ov::element::Type& type) {
    for (const Dtype one : {Dtype::float32, Dtype::float16, Dtype::int64, Dtype::int32, Dtype::uint8}) {
        if (type_of(one) == type) return name_of(one);
    }
    return type.get_type_name();
}

// The names and types of a model's ports.
Ports ports_of(const std::vector<Tensor>& tensors, const ov::OutputVector& ports) {
    Ports found;
    for (const auto& port : ports) {
        // A tensor can have several names: an output that passes an input on has both.
        const auto& names = port.get_names();
        const auto known =
            std::find_if(tensors.begin(), tensors.end(), [&](const Tensor& one) { return names.count(one.name) > 0; });
        found.emplace_back(known == tensors.end() ? port.get_any_name() : known->name,
                           type_name(port.get_element_type()));
    }
    return found;
}

// The one of this process. It is never freed: every core gives the thread a stack of its own for signals, and frees it
// at its end. If two end in the order in which they were made, or one ends in another thread, the thread's stack is one
// that was freed, and the next signal that takes it ends the process (seen in OpenVINO 2026.4.1).
ov::Core& the_core() {
    static ov::Core* const core = new ov::Core();
    return *core;
}

class OpenVinoEngine : public Engine {
  public:
    OpenVinoEngine(std::string path, StageSpec spec, ov::AnyMap config, bool shrink)
        : path_(std::move(path)),
          spec_(std::move(spec)),
          config_(std::move(config)),
          shrink_(shrink),
          usual_(held_axes(spec_)),
          batch_(usual_.empty() ? "" : batch_axis(spec_)) {
        prepare(usual_);
    }

    void run(const Sizes& sizes, const Arrays& inputs, const Arrays& outputs) override {
        Sizes held;
        for (const auto& [axis, _] : usual_) held[axis] = sizes.at(axis);
        prepare(held);
        const std::int64_t count = batch_.empty() ? 1 : sizes.at(batch_);
        try {
            for (std::int64_t number = 0; number < count; ++number) {
                bind(spec_.inputs, inputs, number);
                bind(spec_.outputs, outputs, number);
                request_.infer();
            }
            if (shrink_) compiled_.release_memory();
        } catch (const std::exception& error) {
            throw backend_error("stage " + spec_.name + " failed in openvino: " + error.what(),
                                "build the stage again, or update openvino");
        }
    }

  private:
    std::string path_;
    StageSpec spec_;
    ov::AnyMap config_;
    bool shrink_;
    Sizes usual_;
    std::string batch_;  // Taken one by one, see the Python backend.
    Sizes sizes_;
    ov::CompiledModel compiled_;
    ov::InferRequest request_;

    // OpenVINO reads and writes our memory.
    void bind(const std::vector<Tensor>& tensors, const Arrays& arrays, std::int64_t number) {
        for (const Tensor& tensor : tensors) {
            Array array = arrays.at(tensor.name);
            if (!batch_.empty() && tensor.shape[0].axis == batch_) array = array.part(number, number + 1);
            request_.set_tensor(
                tensor.name,
                ov::Tensor(type_of(tensor.dtype), ov::Shape(array.shape.begin(), array.shape.end()), array.data()));
        }
    }

    void prepare(const Sizes& sizes) {
        if (request_ && sizes == sizes_) return;
        // The old one goes first: both together would need twice the memory of the weights.
        request_ = {};
        compiled_ = {};
        try {
            const auto model = the_core().read_model(path_);
            check_declaration(path_, "inputs", spec_.inputs, ports_of(spec_.inputs, model->inputs()));
            check_declaration(path_, "outputs", spec_.outputs, ports_of(spec_.outputs, model->outputs()));
            if (!sizes.empty()) model->reshape(open_shapes(sizes));
            compiled_ = the_core().compile_model(model, "CPU", config_);
            request_ = compiled_.create_infer_request();
        } catch (const Error&) {
            throw;
        } catch (const std::exception& error) {
            throw backend_error("stage " + spec_.name + ": openvino cannot open " + path_ + ": " + error.what(),
                                "build the stage again, or update openvino");
        }
        const auto computes = compiled_.get_property(ov::hint::inference_precision);
        const auto wanted = config_.at("INFERENCE_PRECISION_HINT").as<ov::element::Type>();
        if (computes != wanted) {
            const std::string precision = wanted == ov::element::f32 ? "fp32" : "bf16";
            throw backend_error("stage " + spec_.name + ": openvino computes in " + computes.get_type_name() + ", " +
                                    precision + " was asked for",
                                in_fp32);
        }
        sizes_ = sizes;
    }

    std::map<std::string, ov::PartialShape> open_shapes(Sizes sizes) const {
        if (!batch_.empty()) sizes[batch_] = 1;
        std::map<std::string, ov::PartialShape> shapes;
        for (const Tensor& tensor : spec_.inputs) {
            std::vector<ov::Dimension> shape;
            for (const Dimension& dimension : tensor.shape) {
                const auto known = sizes.find(dimension.axis);
                if (dimension.axis.empty()) {
                    shape.emplace_back(dimension.size);
                } else if (known != sizes.end()) {
                    shape.emplace_back(known->second / dimension.divisor);
                } else {
                    shape.push_back(ov::Dimension::dynamic());
                }
            }
            shapes[tensor.name] = ov::PartialShape(shape);
        }
        return shapes;
    }
};

class OpenVinoBackend : public Backend {
  public:
    explicit OpenVinoBackend(EngineOptions options) : options_(std::move(options)) {
        try {
            const auto devices = the_core().get_available_devices();
            if (std::find(devices.begin(), devices.end(), "CPU") == devices.end()) {
                throw backend_error("this openvino has no plugin for the CPU (it has: " +
                                        (devices.empty() ? "none" : joined(devices)) + ")",
                                    "install openvino again");
            }
        } catch (const Error&) {
            throw;
        } catch (const std::exception& error) {
            throw backend_error(std::string("openvino cannot start: ") + error.what(), "install openvino again");
        }
    }

    std::string mismatch(const BackendInfo& built) const override {
        std::vector<std::string> missing;
        std::copy_if(built.arithmetic.begin(), built.arithmetic.end(), std::back_inserter(missing),
                     [](const std::string& name) { return !has_arithmetic(name); });
        return missing.empty() ? "" : "it needs a processor with " + joined(missing, " and ") + " arithmetic";
    }

    std::unique_ptr<Engine> open_stage(const Bundle& bundle, const StageEntry& entry) override {
        const std::string precision = entry.precision.empty() ? options_.precision : entry.precision;
        if (precision != "fp32" && precision != "bf16") {
            throw backend_error("openvino does not compute in " + precision, in_fp32);
        }
        const bool half = precision == "bf16";
        if (half && !has_arithmetic("bf16")) {
            throw backend_error("openvino in bf16 needs a processor with bf16 arithmetic, this one has none", in_fp32);
        }
        const ov::AnyMap config = {
            // Left out, OpenVINO takes bf16 on processors that have it.
            {"INFERENCE_PRECISION_HINT", half ? ov::element::bf16 : ov::element::f32},
            {"EXECUTION_MODE_HINT", half ? "PERFORMANCE" : "ACCURACY"},
            {"PERFORMANCE_HINT", "LATENCY"},
            {"NUM_STREAMS", "1"},
            {"INFERENCE_NUM_THREADS", options_.threads},
            // A pinned thread waits for its core while another program uses it.
            {"ENABLE_CPU_PINNING", false},
        };
        std::uint64_t size = 0;
        for (const std::string& name : entry.files) size += size_of_file(bundle.path(name));
        return std::make_unique<OpenVinoEngine>(bundle.path(entry.file), entry.spec, config, size > shrink_from);
    }

  private:
    EngineOptions options_;
};

}  // namespace

std::unique_ptr<Backend> open_openvino(const EngineOptions& options) {
    return std::make_unique<OpenVinoBackend>(options);
}

}  // namespace odise

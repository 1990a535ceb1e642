// ONNX Runtime on the CPU. See odise_trt/backends/onnxruntime.py: the same settings, so the same numbers.
#include "declaration.hpp"
#include "engine.hpp"
#include "error.hpp"
#include "files/files.hpp"
#include "onnxruntime_api.hpp"
#include "text/python_text.hpp"

namespace odise {

namespace {

using ort::api;
using ort::check;
using ort::make;

// Stages with files larger than this free their scratch memory after each run.
constexpr std::uint64_t shrink_from = 32 << 20;

ONNXTensorElementDataType type_of(Dtype dtype) {
    switch (dtype) {
        case Dtype::float32:
            return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
        case Dtype::float16:
            return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16;
        case Dtype::int64:
            return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
        case Dtype::int32:
            return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
        case Dtype::uint8:
            return ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
    }
    return ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
}

std::string type_name(ONNXTensorElementDataType type) {
    for (const Dtype one : {Dtype::float32, Dtype::float16, Dtype::int64, Dtype::int32, Dtype::uint8}) {
        if (type_of(one) == type) return name_of(one);
    }
    switch (type) {  // As ONNX Runtime's Python package says it.
        case ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE:
            return "tensor(double)";
        case ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL:
            return "tensor(bool)";
        case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8:
            return "tensor(int8)";
        case ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING:
            return "tensor(string)";
        case ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16:
            return "tensor(bfloat16)";
        default:
            return "type " + std::to_string(type);
    }
}

template <typename Count, typename Name, typename Type>
Ports ports_of(const OrtSession* session, Count OrtApi::* count_of, Name OrtApi::* name_of_port,
               Type OrtApi::* type_of_port) {
    OrtAllocator* allocator = nullptr;
    check(api().GetAllocatorWithDefaultOptions(&allocator));
    std::size_t count = 0;
    check((api().*count_of)(session, &count));
    Ports ports;
    for (std::size_t number = 0; number < count; ++number) {
        char* name = nullptr;
        check((api().*name_of_port)(session, number, allocator, &name));
        std::string copied = name;
        check(api().AllocatorFree(allocator, name));
        const auto info = make<ort::TypeInfo>(type_of_port, session, number);
        const OrtTensorTypeAndShapeInfo* tensor = nullptr;
        check(api().CastTypeInfoToTensorInfo(info.get(), &tensor));
        ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
        if (tensor != nullptr) check(api().GetTensorElementType(tensor, &type));
        ports.emplace_back(std::move(copied), type_name(type));
    }
    return ports;
}

class OnnxRuntimeEngine : public Engine {
  public:
    OnnxRuntimeEngine(std::shared_ptr<OrtEnv> environment, const std::string& path, StageSpec spec,
                      const OrtSessionOptions* options, bool shrink)
        : environment_(std::move(environment)), spec_(std::move(spec)) {
        try {
            session_ = make<ort::Session>(&OrtApi::CreateSession, environment_.get(), path.c_str(), options);
            run_options_ = make<ort::RunOptions>(&OrtApi::CreateRunOptions);
            if (shrink) {
                check(api().AddRunConfigEntry(run_options_.get(), "memory.enable_memory_arena_shrinkage", "cpu:0"));
            }
            memory_ = make<ort::MemoryInfo>(&OrtApi::CreateCpuMemoryInfo, OrtArenaAllocator, OrtMemTypeDefault);
        } catch (const ort::Failure& error) {
            throw backend_error(
                "stage " + spec_.name + ": onnxruntime cannot open " + path + ": " + error.what(),
                "build the stage again, or update onnxruntime where it is older than the one that built it");
        }
        check_declaration(path, "inputs", spec_.inputs,
                          ports_of(session_.get(), &OrtApi::SessionGetInputCount, &OrtApi::SessionGetInputName,
                                   &OrtApi::SessionGetInputTypeInfo));
        check_declaration(path, "outputs", spec_.outputs,
                          ports_of(session_.get(), &OrtApi::SessionGetOutputCount, &OrtApi::SessionGetOutputName,
                                   &OrtApi::SessionGetOutputTypeInfo));
    }

    void run(const Sizes&, const Arrays& inputs, const Arrays& outputs) override {
        try {
            const Bound given(*memory_, spec_.inputs, inputs), made(*memory_, spec_.outputs, outputs);
            auto places = made.values;
            check(api().Run(session_.get(), run_options_.get(), given.names.data(), given.values.data(),
                            given.values.size(), made.names.data(), made.names.size(), places.data()));
        } catch (const ort::Failure& error) {
            throw backend_error("stage " + spec_.name + " failed in onnxruntime: " + error.what());
        }
    }

  private:
    // Tensors that the session reads or writes where they are.
    struct Bound {
        std::vector<const char*> names;
        std::vector<OrtValue*> values;
        std::vector<ort::Value> owned;

        Bound(const OrtMemoryInfo& memory, const std::vector<Tensor>& tensors, const Arrays& arrays) {
            for (const Tensor& tensor : tensors) {
                const Array& array = arrays.at(tensor.name);
                owned.push_back(make<ort::Value>(&OrtApi::CreateTensorWithDataAsOrtValue, &memory, array.data(),
                                                 array.bytes(), array.shape.data(), array.shape.size(),
                                                 type_of(tensor.dtype)));
                names.push_back(tensor.name.c_str());
                values.push_back(owned.back().get());
            }
        }
    };

    std::shared_ptr<OrtEnv> environment_;
    StageSpec spec_;
    ort::MemoryInfo memory_;
    ort::RunOptions run_options_;
    ort::Session session_;
};

class OnnxRuntimeBackend : public Backend {
  public:
    explicit OnnxRuntimeBackend(EngineOptions options) : options_(std::move(options)) {
        if (ort::found_api() == nullptr) {
            throw backend_error(std::string("this onnxruntime ") + OrtGetApiBase()->GetVersionString() +
                                    " is older than the headers that libodise_trt was built with (1." +
                                    std::to_string(ORT_API_VERSION) + ")",
                                "update onnxruntime");
        }
        try {
            environment_ = make<ort::Environment>(&OrtApi::CreateEnv, ORT_LOGGING_LEVEL_ERROR, "odise_trt");
        } catch (const ort::Failure& error) {
            throw backend_error(std::string("onnxruntime cannot start: ") + error.what(), "install onnxruntime again");
        }
    }

    // ONNX files run on any machine.
    std::string mismatch(const BackendInfo&) const override { return ""; }

    std::unique_ptr<Engine> open_stage(const Bundle& bundle, const StageEntry& entry) override {
        std::uint64_t size = 0;
        for (const std::string& name : entry.files) size += size_of_file(bundle.path(name));
        const ort::SessionOptions options = session_options(entry.files.size() > 1);
        return std::make_unique<OnnxRuntimeEngine>(environment_, bundle.path(entry.file), entry.spec, options.get(),
                                                   size > shrink_from);
    }

  private:
    EngineOptions options_;
    std::shared_ptr<OrtEnv> environment_;

    // The reasons are in the Python backend. `mapped`: weights are in files of their own.
    ort::SessionOptions session_options(bool mapped) const {
        auto made = make<ort::SessionOptions>(&OrtApi::CreateSessionOptions);
        OrtSessionOptions* options = made.get();
        check(api().SetIntraOpNumThreads(options, options_.threads));
        check(api().SetSessionLogSeverityLevel(options, ORT_LOGGING_LEVEL_ERROR));
        // Threads that wait for work would take the processors from the next session.
        check(api().AddSessionConfigEntry(options, "session.intra_op.allow_spinning", "0"));
        // Levels above "extended" crash on half-precision graphs.
        check(api().SetSessionGraphOptimizationLevel(
            options, options_.precision == "fp16" ? ORT_ENABLE_EXTENDED : ORT_ENABLE_ALL));
        if (mapped) check(api().AddSessionConfigEntry(options, "session.disable_prepacking", "1"));
        return made;
    }
};

}  // namespace

std::unique_ptr<Backend> open_onnxruntime(const EngineOptions& options) {
    return std::make_unique<OnnxRuntimeBackend>(options);
}

}  // namespace odise

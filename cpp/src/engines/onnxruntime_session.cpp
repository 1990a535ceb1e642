#include "onnxruntime_session.hpp"

#include <cstdlib>

#include "declaration.hpp"

namespace odise::ort {

namespace {

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
        const auto info = make<TypeInfo>(type_of_port, session, number);
        const OrtTensorTypeAndShapeInfo* tensor = nullptr;
        check(api().CastTypeInfoToTensorInfo(info.get(), &tensor));
        ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
        if (tensor != nullptr) check(api().GetTensorElementType(tensor, &type));
        ports.emplace_back(std::move(copied), type_name(type));
    }
    return ports;
}

}  // namespace

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

std::string version() { return OrtGetApiBase()->GetVersionString(); }

std::pair<int, int> version_numbers() {
    const std::string text = version();
    return {std::atoi(text.c_str()), std::atoi(text.c_str() + std::min(text.find('.') + 1, text.size()))};
}

std::shared_ptr<OrtEnv> start(OrtLoggingLevel level) {
    if (found_api() == nullptr) {
        throw backend_error("this onnxruntime " + version() +
                                " is older than the headers that libodise_trt was built with (1." +
                                std::to_string(ORT_API_VERSION) + ")",
                            "update onnxruntime");
    }
    try {
        return make<Environment>(&OrtApi::CreateEnv, level, "odise_trt");
    } catch (const Failure& error) {
        throw backend_error(std::string("onnxruntime cannot start: ") + error.what(), "install onnxruntime again");
    }
}

std::string metadata(const OrtSession* session, const char* key) {
    OrtAllocator* allocator = nullptr;
    check(api().GetAllocatorWithDefaultOptions(&allocator));
    const auto all = make<Metadata>(&OrtApi::SessionGetModelMetadata, session);
    char* found = nullptr;
    check(api().ModelMetadataLookupCustomMetadataMap(all.get(), allocator, key, &found));
    if (found == nullptr) return {};
    std::string copied = found;
    check(api().AllocatorFree(allocator, found));
    return copied;
}

SessionOptions session_options(int threads, GraphOptimizationLevel level) {
    auto made = make<SessionOptions>(&OrtApi::CreateSessionOptions);
    check(api().SetIntraOpNumThreads(made.get(), threads));
    check(api().SetSessionLogSeverityLevel(made.get(), ORT_LOGGING_LEVEL_ERROR));
    check(api().SetSessionGraphOptimizationLevel(made.get(), level));
    return made;
}

Session open_session(const OrtEnv* environment, const std::string& path, const StageSpec& spec,
                     const OrtSessionOptions* options) {
    Session session;
    Ports inputs, outputs;
    try {
        session = make<Session>(&OrtApi::CreateSession, environment, path.c_str(), options);
        inputs = ports_of(session.get(), &OrtApi::SessionGetInputCount, &OrtApi::SessionGetInputName,
                          &OrtApi::SessionGetInputTypeInfo);
        outputs = ports_of(session.get(), &OrtApi::SessionGetOutputCount, &OrtApi::SessionGetOutputName,
                           &OrtApi::SessionGetOutputTypeInfo);
    } catch (const Failure& error) {
        throw backend_error(
            "stage " + spec.name + ": onnxruntime cannot open " + path + ": " + error.what(),
            "build the stage again, or update onnxruntime where it is older than the one that built it");
    }
    check_declaration(path, "inputs", spec.inputs, inputs);
    check_declaration(path, "outputs", spec.outputs, outputs);
    return session;
}

Value value_at(const OrtMemoryInfo* memory, void* data, std::size_t bytes, Dtype dtype, const Shape& shape) {
    return make<Value>(&OrtApi::CreateTensorWithDataAsOrtValue, memory, data, bytes, shape.data(), shape.size(),
                       type_of(dtype));
}

Error run_error(const StageSpec& spec, const Failure& failure) {
    return backend_error("stage " + spec.name + " failed in onnxruntime: " + failure.what());
}

}  // namespace odise::ort

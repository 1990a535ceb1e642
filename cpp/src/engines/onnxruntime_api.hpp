// ONNX Runtime's C interface, with objects that free themselves and errors that are thrown.
#pragma once

#include <onnxruntime_c_api.h>

#include <array>
#include <memory>
#include <stdexcept>
#include <string>

namespace odise::ort {

// An error of ONNX Runtime, in the words of its Python package.
struct Failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// The functions of the library. nullptr: it is older than the headers.
inline const OrtApi* found_api() { return OrtGetApiBase()->GetApi(ORT_API_VERSION); }

// Those that are called. Tests put others in their place.
inline const OrtApi*& functions() {
    static const OrtApi* used = found_api();
    return used;
}

inline const OrtApi& api() { return *functions(); }

inline std::string text_of(OrtErrorCode code, const char* message) {
    static constexpr std::array<const char*, 12> names = {"SUCCESS",           "FAIL",
                                                          "INVALID_ARGUMENT",  "NO_SUCHFILE",
                                                          "NO_MODEL",          "ENGINE_ERROR",
                                                          "RUNTIME_EXCEPTION", "INVALID_PROTOBUF",
                                                          "MODEL_LOADED",      "NOT_IMPLEMENTED",
                                                          "INVALID_GRAPH",     "EP_FAIL"};
    const auto number = static_cast<std::size_t>(code);
    return "[ONNXRuntimeError] : " + std::to_string(number) + " : " +
           (number < names.size() ? names[number] : "GENERAL ERROR") + " : " + message;
}

// Throws Failure for every status but success.
inline void check(OrtStatus* status) {
    if (status == nullptr) return;
    const std::string text = text_of(api().GetErrorCode(status), api().GetErrorMessage(status));
    api().ReleaseStatus(status);
    throw Failure(text);
}

// Objects of the library, freed with the function that the API has for them.
template <typename T, void (ORT_API_CALL* OrtApi::*release)(T*)>
struct Release {
    void operator()(T* one) const { (api().*release)(one); }
};
template <typename T, void (ORT_API_CALL* OrtApi::*release)(T*)>
using Owned = std::unique_ptr<T, Release<T, release>>;

using Environment = Owned<OrtEnv, &OrtApi::ReleaseEnv>;
using Session = Owned<OrtSession, &OrtApi::ReleaseSession>;
using SessionOptions = Owned<OrtSessionOptions, &OrtApi::ReleaseSessionOptions>;
using RunOptions = Owned<OrtRunOptions, &OrtApi::ReleaseRunOptions>;
using MemoryInfo = Owned<OrtMemoryInfo, &OrtApi::ReleaseMemoryInfo>;
using Value = Owned<OrtValue, &OrtApi::ReleaseValue>;
using Metadata = Owned<OrtModelMetadata, &OrtApi::ReleaseModelMetadata>;
using Binding = Owned<OrtIoBinding, &OrtApi::ReleaseIoBinding>;
using CudaOptions = Owned<OrtCUDAProviderOptionsV2, &OrtApi::ReleaseCUDAProviderOptions>;
using TypeInfo = Owned<OrtTypeInfo, &OrtApi::ReleaseTypeInfo>;

// Makes an object: the last argument of a function of the API is its place.
template <typename Made, typename Function, typename... Given>
Made make(Function OrtApi::* function, Given... given) {
    typename Made::pointer made = nullptr;
    check((api().*function)(given..., &made));
    return Made(made);
}

}  // namespace odise::ort

// What TensorRT and TensorRT for RTX share: engines behind NvInferRuntime.h. See odise_trt/backends/tensorrt_engine.py.
//
// nvinfer_backend.hpp is included by one file per flavour, after its headers. Both flavours declare the same names with
// other layouts, so everything here has internal linkage, and a flavour that is not TensorRT renames the namespace of
// its headers. The libraries export the same functions, too, so each is loaded by name, and its functions are looked up
// in it.
#pragma once

#include <algorithm>
#include <mutex>

#include "device/engine.hpp"
#include "shared_library.hpp"
#include "text/python_text.hpp"

namespace odise {
namespace {

struct FlavourNames {
    const char* backend;  // "tensorrt"
    const char* product;  // "TensorRT"
    const char* library;  // "libnvinfer.so."
    const char* parser;   // "libnvonnxparser.so."
    const char* install;  // how to get them
};

constexpr const char* again = "build the stage again";

// Collects error messages, to be thrown with the error that they explain.
class Log : public nvinfer1::ILogger {
  public:
    void log(Severity severity, char const* message) noexcept override {
        if (severity != Severity::kERROR && severity != Severity::kINTERNAL_ERROR) return;
        try {
            const std::lock_guard lock(mutex_);
            if (messages_.size() < 100) messages_.emplace_back(message);
        } catch (...) {
            // There is no memory for words.
        }
    }

    // What was logged since the last call. Empty: nothing.
    std::string taken() {
        const std::lock_guard lock(mutex_);
        const std::string text = joined(messages_, "; ");
        messages_.clear();
        return text;
    }

    // The same, for the end of a message.
    std::string said() {
        const std::string text = taken();
        return text.empty() ? "no reason given" : text;
    }

  private:
    std::mutex mutex_;
    std::vector<std::string> messages_;
};

// The library of a flavour.
class NvInferLibrary {
  public:
    explicit NvInferLibrary(const FlavourNames& names)
        : names_(names),
          library_(std::string(names.backend) + " cannot be loaded", names.library + std::to_string(NV_TENSORRT_MAJOR),
                   names.install) {
        std::vector<int> parts;
        for (const char* part : {"Major", "Minor", "Patch", "Build"}) {
            const auto ask = library_.find<std::int32_t (*)()>("getInferLib" + std::string(part) + "Version");
            parts.push_back(ask());
            version_ += (version_.empty() ? "" : ".") + std::to_string(parts.back());
        }
        // Newer libraries take programs that were built with older headers of the same major version.
        if (parts < std::vector<int>{NV_TENSORRT_MAJOR, NV_TENSORRT_MINOR}) {
            throw backend_error(library_.file() + " is " + version_ + ", this library was built for " +
                                    std::to_string(NV_TENSORRT_MAJOR) + "." + std::to_string(NV_TENSORRT_MINOR),
                                "install a newer one, or build this library with its headers");
        }
        create_ = library_.find<void* (*)(void*, std::int32_t)>("createInferRuntime_INTERNAL");
    }

    const FlavourNames& names() const { return names_; }
    // "10.13.0.35"
    const std::string& version() const { return version_; }

    // nullptr: it cannot start, and has logged why.
    std::unique_ptr<nvinfer1::IRuntime> runtime(Log& log) const {
        return std::unique_ptr<nvinfer1::IRuntime>(
            static_cast<nvinfer1::IRuntime*>(create_(static_cast<nvinfer1::ILogger*>(&log), NV_TENSORRT_VERSION)));
    }

    // nullptr: it cannot be made, and the log says why. It must end before the engine.
    std::unique_ptr<nvinfer1::IRefitter> refitter(nvinfer1::ICudaEngine& engine, Log& log) const {
        const auto create = library_.find<void* (*)(void*, void*, std::int32_t)>("createInferRefitter_INTERNAL");
        return std::unique_ptr<nvinfer1::IRefitter>(static_cast<nvinfer1::IRefitter*>(
            create(&engine, static_cast<nvinfer1::ILogger*>(&log), NV_TENSORRT_VERSION)));
    }

  private:
    FlavourNames names_;
    SharedLibrary library_;
    std::string version_;
    void* (*create_)(void*, std::int32_t) = nullptr;
};

std::string type_name(nvinfer1::DataType type) {
    switch (type) {
        case nvinfer1::DataType::kFLOAT:
            return "float32";
        case nvinfer1::DataType::kHALF:
            return "float16";
        case nvinfer1::DataType::kINT64:
            return "int64";
        case nvinfer1::DataType::kINT32:
            return "int32";
        case nvinfer1::DataType::kUINT8:
            return "uint8";
        case nvinfer1::DataType::kBF16:
            return "BF16";
        case nvinfer1::DataType::kINT8:
            return "INT8";
        case nvinfer1::DataType::kBOOL:
            return "BOOL";
        default:
            return "type " + std::to_string(static_cast<std::int32_t>(type));
    }
}

nvinfer1::Dims dims_of(const Shape& shape) {
    nvinfer1::Dims dims{};
    dims.nbDims = static_cast<std::int32_t>(shape.size());
    std::copy(shape.begin(), shape.end(), dims.d);
    return dims;
}

Shape shape_of(const nvinfer1::Dims& dims) { return Shape(dims.d, dims.d + std::max(dims.nbDims, 0)); }

cudaStream_t cuda_stream(const Device& device) { return reinterpret_cast<cudaStream_t>(device.stream()); }

// TensorRT for RTX compiles kernels while it runs, and says whether an engine can be recorded at all.
template <typename Context>
auto is_capturable(const Context& context, cudaStream_t stream, int) -> decltype(context.isStreamCapturable(stream)) {
    return context.isStreamCapturable(stream);
}
template <typename Context>
bool is_capturable(const Context&, cudaStream_t, long) {
    return true;
}

}  // namespace
}  // namespace odise

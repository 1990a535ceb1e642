// Gives weights to an engine of TensorRT, or of TensorRT for RTX. See nvinfer.hpp.
#pragma once

#include "nvinfer.hpp"
#include "refit.hpp"

namespace odise {
namespace {

class NvInferRefitter : public Refitter {
  public:
    // `path`: the engine's file, for messages.
    NvInferRefitter(const NvInferLibrary& library, Log& log, nvinfer1::ICudaEngine& engine, std::string path)
        : library_(library), log_(log), engine_(engine), path_(std::move(path)) {}

    bool is_refittable() const override { return engine_.isRefittable(); }

    bool start() override {
        refitter_ = library_.refitter(engine_, log_);
        return refitter_ != nullptr;
    }

    std::vector<std::string> all() override {
        return listed([this](std::int32_t size, char const** names) { return refitter_->getAllWeights(size, names); });
    }

    bool open_parser() override {
        const FlavourNames& names = library_.names();
        const SharedLibrary library =
            parser_library(path_, names.parser + std::to_string(NV_TENSORRT_MAJOR), names.product);
        const auto create = library.find<void* (*)(void*, void*, std::int32_t)>("createNvOnnxParserRefitter_INTERNAL");
        parser_.reset(static_cast<nvonnxparser::IParserRefitter*>(
            create(refitter_.get(), static_cast<nvinfer1::ILogger*>(&log_), NV_ONNX_PARSER_VERSION)));
        return parser_ != nullptr;
    }

    bool read(const std::string& graph) override { return parser_->refitFromFile(graph.c_str()); }

    std::vector<std::string> missing() override {
        return listed(
            [this](std::int32_t size, char const** names) { return refitter_->getMissingWeights(size, names); });
    }

    bool finish() override { return refitter_->refitCudaEngine(); }
    std::string said() override { return log_.taken(); }

  private:
    const NvInferLibrary& library_;
    Log& log_;
    nvinfer1::ICudaEngine& engine_;
    std::string path_;
    std::unique_ptr<nvinfer1::IRefitter> refitter_;
    // It owns the weights, and ends before the refitter that it fills.
    std::unique_ptr<nvonnxparser::IParserRefitter> parser_;

    // `get`: gives the number of names, and as many of them as there is room for.
    template <typename Get>
    static std::vector<std::string> listed(const Get& get) {
        std::vector<const char*> names(static_cast<std::size_t>(std::max(get(0, nullptr), std::int32_t{0})));
        if (!names.empty()) get(static_cast<std::int32_t>(names.size()), names.data());
        std::vector<std::string> texts;
        for (const char* name : names) texts.emplace_back(name == nullptr ? "" : name);
        return texts;
    }
};

}  // namespace
}  // namespace odise

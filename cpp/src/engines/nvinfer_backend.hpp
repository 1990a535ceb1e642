// The backend of TensorRT, or of TensorRT for RTX. See nvinfer.hpp.
#pragma once

#include "device/cuda.hpp"
#include "files/files.hpp"
#include "nvinfer_engine.hpp"
#include "nvinfer_refitter.hpp"

namespace odise {
namespace {

// An engine of the paper's model has about 2 GB.
constexpr std::uint64_t most_engine = std::uint64_t{1} << 36;

class NvInferBackend : public DeviceBackend {
  public:
    NvInferBackend(const FlavourNames& names, const EngineOptions& options)
        : library_(names), shared_{names.backend, open_cuda(options.gpu), nullptr, {}} {
        const Current current(*shared_.device);
        runtime_ = library_.runtime(shared_.log);
        if (!runtime_) {
            throw backend_error(shared_.name + (" " + library_.version()) + " cannot start: " + shared_.log.said());
        }
        shared_.scratch = std::make_unique<Buffer>(*shared_.device);
    }
    ~NvInferBackend() override {
        try {
            const Current current(*shared_.device);
            shared_.scratch.reset();
            runtime_.reset();
        } catch (const Error&) {
            // At the end of a process the driver may be gone.
        }
    }

    std::string mismatch(const BackendInfo& built) const override {
        return engine_mismatch(built, library_.version(), shared_.device->info());
    }
    const std::shared_ptr<Device>& device() const override { return shared_.device; }
    Buffer& scratch() override { return *shared_.scratch; }

    std::unique_ptr<DeviceEngine> open_on_device(const Bundle& bundle, const StageEntry& entry) override {
        const std::string path = bundle.path(entry.file);
        std::string content;
        try {
            content = read_file(path, most_engine);
        } catch (const ReadError& error) {
            throw backend_error(path + " cannot be read: " + reason(error.error));
        }
        const Current current(*shared_.device);
        shared_.log.said();
        // Version-compatible engines bring the lean runtime of the version that built them.
        if (bundle.manifest.backend.is_compatible("version")) runtime_->setEngineHostCodeAllowed(true);
        std::unique_ptr<nvinfer1::ICudaEngine> engine(runtime_->deserializeCudaEngine(content.data(), content.size()));
        if (!engine) {
            throw backend_error(std::string(shared_.name) + " cannot load " + path + ": " + shared_.log.said(), again);
        }
        if (entry.weights_from) {
            // Before any context is made: contexts may keep what they find in the engine.
            NvInferRefitter refitter(library_, shared_.log, *engine, path);
            refit(refitter, path, bundle.path(*entry.weights_from));
        }
        auto opened = std::make_unique<NvInferEngine>(*this, shared_, std::move(engine), entry.spec);
        opened->check_declaration(path);
        return opened;
    }

  private:
    NvInferLibrary library_;
    NvInferShared shared_;
    std::unique_ptr<nvinfer1::IRuntime> runtime_;  // It writes to the log, which outlives it.
};

}  // namespace
}  // namespace odise

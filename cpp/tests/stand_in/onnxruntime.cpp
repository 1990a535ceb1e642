#include "onnxruntime.hpp"

#include <cstring>

#include "device.hpp"
#include "engines/onnxruntime_device.hpp"

namespace stand_in {

namespace {

using odise::DeviceTensors;

const OrtApi* true_api() { return odise::ort::found_api(); }

// Options of runs that are not waited for.
std::set<const OrtRunOptions*>& unwaited() {
    static std::set<const OrtRunOptions*> options;
    return options;
}

// ONNX Runtime's functions, with those counted that no result shows. On the CPU every run is waited for.
const OrtApi* watched_api() {
    static OrtApi api = *true_api();
    api.CreateSession = [](const OrtEnv* environment, const char* path, const OrtSessionOptions* options,
                           OrtSession** made) noexcept {
        ++machine().counts.sessions;
        return true_api()->CreateSession(environment, path, options, made);
    };
    api.ReleaseSession = [](OrtSession* session) noexcept {
        --machine().counts.sessions;
        true_api()->ReleaseSession(session);
    };
    api.AddRunConfigEntry = [](OrtRunOptions* options, const char* key, const char* value) noexcept {
        if (std::strcmp(key, "disable_synchronize_execution_providers") == 0) unwaited().insert(options);
        return true_api()->AddRunConfigEntry(options, key, value);
    };
    api.ReleaseRunOptions = [](OrtRunOptions* options) noexcept {
        unwaited().erase(options);
        true_api()->ReleaseRunOptions(options);
    };
    api.RunWithBinding = [](OrtSession* session, const OrtRunOptions* options, const OrtIoBinding* binding) noexcept {
        if (machine().no_more_runs) return true_api()->CreateStatus(ORT_FAIL, "Failed to allocate memory");
        if (unwaited().count(options) == 0) ++machine().counts.waited_runs;
        return true_api()->RunWithBinding(session, options, binding);
    };
    return &api;
}

// Sessions run on the CPU, on the memory of the stand-in, and as late as everything there.
class Place : public odise::OrtPlace {
  public:
    explicit Place(int gpu) : device_(std::make_shared<Device>(gpu)) {}

    const std::shared_ptr<odise::Device>& device() const override { return base_; }
    void append_provider(OrtSessionOptions*, bool) const override {}
    odise::ort::MemoryInfo memory() const override {
        return odise::ort::make<odise::ort::MemoryInfo>(&OrtApi::CreateCpuMemoryInfo, OrtDeviceAllocator,
                                                        OrtMemTypeDefault);
    }
    void queue(const DeviceTensors& inputs, const DeviceTensors& outputs, const std::function<void()>& run) override {
        std::vector<Access> accesses;
        for (const auto* tensors : {&inputs, &outputs}) {
            for (const auto& [name, tensor] : *tensors) {
                if (tensor.address % 256 != 0) throw Fault(name + " is at no multiple of 256");
                accesses.push_back({tensor.address, tensor.bytes(), tensors == &outputs});
            }
        }
        if (machine().copies_from_host) {
            static const unsigned char size[1] = {0};
            device_->upload(outputs.begin()->second.address, size, sizeof size);
        }
        device_->queue(
            [this, inputs, outputs, run] {
                ++machine().counts.runs;
                Gpu& gpu = device_->gpu();
                for (const auto& [_, tensor] : inputs) gpu.read(tensor.address, tensor.bytes());
                for (const auto& [_, tensor] : outputs) gpu.spoil(tensor.address, tensor.bytes());
                run();
                for (const auto& [_, tensor] : outputs) gpu.wrote(tensor.address, tensor.bytes());
            },
            std::move(accesses));
    }

  private:
    std::shared_ptr<Device> device_;
    std::shared_ptr<odise::Device> base_ = device_;
};

}  // namespace

std::unique_ptr<odise::Backend> open_onnxruntime(const odise::EngineOptions& options) {
    auto environment = odise::ort::start(ORT_LOGGING_LEVEL_ERROR);
    odise::ort::functions() = watched_api();
    return odise::open_onnxruntime_on(std::make_unique<Place>(options.gpu), std::move(environment), options);
}

}  // namespace stand_in

#include "onnxruntime_device.hpp"

#include <mutex>

namespace odise {

namespace {

using ort::api;
using ort::check;
using ort::make;

// A key of a graph's metadata, and its value if the device counts all sizes that it computes with. Then a run copies
// nothing from the host, and can be recorded. See odise_trt/backends/registry.py.
constexpr const char *sizes_key = "odise_trt.sizes", *on_device = "on the device";
// The first version whose runs can be recorded: before, Concat copied its arguments from the host.
constexpr std::pair<int, int> records_from = {1, 31};
// Of so many queued runs of a stage, one is waited for.
constexpr std::int64_t wait_every = 256;

// What the engines of a backend share.
struct Shared {
    std::unique_ptr<OrtPlace> place;
    std::shared_ptr<OrtEnv> environment;
    ort::MemoryInfo memory;
    ort::RunOptions waits, queued;

    Shared(std::unique_ptr<OrtPlace> where, std::shared_ptr<OrtEnv> started)
        : place(std::move(where)),
          environment(std::move(started)),
          memory(place->memory()),
          waits(make<ort::RunOptions>(&OrtApi::CreateRunOptions)),
          queued(make<ort::RunOptions>(&OrtApi::CreateRunOptions)) {
        // Otherwise every run waits for the GPU.
        check(api().AddRunConfigEntry(queued.get(), "disable_synchronize_execution_providers", "1"));
    }
};

// A session that cannot be settled is never freed, see OnnxRuntimeOnDevice::settle.
void leave_open(ort::Session session, std::shared_ptr<OrtEnv> environment) {
    static std::mutex mutex;
    static auto& left = *new std::vector<std::pair<std::shared_ptr<OrtEnv>, ort::Session>>;
    const std::lock_guard lock(mutex);
    left.emplace_back(std::move(environment), std::move(session));
}

// Inputs and outputs of one run, at their addresses.
struct Bound {
    ort::Binding binding;
    std::vector<ort::Value> values;

    Bound(OrtSession* session, const OrtMemoryInfo* memory, const DeviceTensors& inputs, const DeviceTensors& outputs)
        : binding(make<ort::Binding>(&OrtApi::CreateIoBinding, session)) {
        for (const auto& [name, tensor] : inputs)
            check(api().BindInput(binding.get(), name.c_str(), at(memory, tensor)));
        for (const auto& [name, tensor] : outputs) {
            check(api().BindOutput(binding.get(), name.c_str(), at(memory, tensor)));
        }
    }

  private:
    const OrtValue* at(const OrtMemoryInfo* memory, const DeviceTensor& tensor) {
        void* data = reinterpret_cast<void*>(static_cast<std::uintptr_t>(tensor.address));
        values.push_back(ort::value_at(memory, data, tensor.bytes(), tensor.dtype, tensor.shape));
        return values.back().get();
    }
};

class OnnxRuntimeOnDevice : public DeviceEngine {
  public:
    OnnxRuntimeOnDevice(DeviceBackend& backend, Shared& shared, ort::Session session, const StageSpec& spec)
        : DeviceEngine(backend, spec),
          shared_(shared),
          session_(std::move(session)),
          copies_sizes_(ort::metadata(session_.get(), sizes_key) != on_device) {}

    ~OnnxRuntimeOnDevice() override {
        try {
            const Current current(*shared_.place->device());
            if (runs_ > 0) settle();
            session_.reset();
        } catch (const Error&) {
            // At the end of a process the driver may be gone.
        }
    }

    void enqueue(const DeviceTensors& inputs, const DeviceTensors& outputs) override {
        check_tensors(inputs, outputs);
        // Pinned memory of the host that a run used is given back only by a run that is waited for.
        const bool waits = ++runs_ % wait_every == 0 && copies_sizes_;
        const OrtRunOptions* options = waits ? shared_.waits.get() : shared_.queued.get();
        shapes_ = shapes_of(inputs);
        try {
            const auto bound = std::make_shared<Bound>(session_.get(), shared_.memory.get(), inputs, outputs);
            shared_.place->queue(inputs, outputs, [this, options, bound] { run_now(options, *bound); });
        } catch (const ort::Failure& error) {
            throw run_error(spec_, error);
        }
        const auto kept = kept_.find(shapes_);
        if (kept != kept_.end()) kept->second.ran = true;
    }

    // ONNX Runtime manages its scratch memory itself.
    std::size_t scratch(const Shapes& shapes) override {
        sizes_of(shapes);
        return 0;
    }

    void keep(const Shapes& shapes) override { ++kept_[shapes].leases; }
    void release(const Shapes& shapes) noexcept override {
        const auto found = kept_.find(shapes);
        if (found != kept_.end() && --found->second.leases == 0) kept_.erase(found);
    }
    // Once these sizes have run since `keep`, their memory and their kernels are there. The memory of a session is used
    // again in every run, and never freed before the session is: what a recording uses stays valid.
    bool can_be_recorded(const Shapes& shapes) override {
        const auto found = kept_.find(shapes);
        return !copies_sizes_ && found != kept_.end() && found->second.ran;
    }

    // Whether a run on a GPU copies sizes there from the host.
    bool copies_sizes() const { return copies_sizes_; }

  private:
    // Shapes that recordings are expected of.
    struct Kept {
        int leases = 0;
        bool ran = false;  // since
    };

    Shared& shared_;
    ort::Session session_;
    bool copies_sizes_;
    std::map<Shapes, Kept> kept_;
    std::int64_t runs_ = 0;
    Shapes shapes_;  // of the inputs of the last run

    void run_now(const OrtRunOptions* options, const Bound& bound) const {
        try {
            check(api().RunWithBinding(session_.get(), options, bound.binding.get()));
        } catch (const ort::Failure& error) {
            throw run_error(spec_, error);
        }
    }

    // Runs once more and waits, so that nothing of a queued run is left. A session that has pinned memory to give back
    // does so in a callback of CUDA. There, freeing its last memory is not allowed, and ends the process (seen in
    // onnxruntime-gpu 1.31).
    void settle() {
        try {
            const auto host = make<ort::MemoryInfo>(&OrtApi::CreateCpuMemoryInfo, OrtArenaAllocator, OrtMemTypeDefault);
            const auto binding = make<ort::Binding>(&OrtApi::CreateIoBinding, session_.get());
            std::vector<Array> zeros;
            std::vector<ort::Value> values;
            for (const Tensor& tensor : spec_.inputs) {
                const Array& array = zeros.emplace_back(Array::zeros(tensor.dtype, shapes_.at(tensor.name)));
                values.push_back(ort::value_at(host.get(), array.data(), array.bytes(), array.dtype, array.shape));
                check(api().BindInput(binding.get(), tensor.name.c_str(), values.back().get()));
            }
            for (const Tensor& tensor : spec_.outputs) {
                check(api().BindOutputToDevice(binding.get(), tensor.name.c_str(), shared_.memory.get()));
            }
            check(api().RunWithBinding(session_.get(), shared_.waits.get(), binding.get()));
        } catch (const std::exception&) {
            // There is no memory for the run. A session that stays costs less than the process.
            leave_open(std::move(session_), shared_.environment);
        }
    }
};

class OnnxRuntimeDeviceBackend : public DeviceBackend {
  public:
    OnnxRuntimeDeviceBackend(std::unique_ptr<OrtPlace> place, std::shared_ptr<OrtEnv> environment,
                             EngineOptions options)
        : options_(std::move(options)),
          shared_(std::move(place), std::move(environment)),
          scratch_(std::make_unique<Buffer>(*shared_.place->device())) {}
    ~OnnxRuntimeDeviceBackend() override {
        try {
            const Current current(*shared_.place->device());
            scratch_.reset();
        } catch (const Error&) {
            // At the end of a process the driver may be gone.
        }
    }

    // ONNX files run on any machine.
    std::string mismatch(const BackendInfo&) const override { return ""; }
    const std::shared_ptr<Device>& device() const override { return shared_.place->device(); }
    Buffer& scratch() override { return *scratch_; }

    // What runs copy from the host is gone when a recording of them runs.
    std::string no_graphs() const override {
        if (ort::version_numbers() < records_from) {
            return "onnxruntime " + ort::version() + " copies from the host in every run, " +
                   std::to_string(records_from.first) + "." + std::to_string(records_from.second) + " does not";
        }
        return copies_sizes_ ? "the bundle's graphs work out sizes on the host, those built for onnxruntime_cuda do not"
                             : "";
    }
    bool records_host() const override { return false; }

    std::unique_ptr<DeviceEngine> open_on_device(const Bundle& bundle, const StageEntry& entry) override {
        const Current current(*shared_.place->device());
        const bool fuses = bundle.manifest.backend.name == onnxruntime_cuda;
        const ort::SessionOptions options = session_options(fuses);
        auto session = ort::open_session(shared_.environment.get(), bundle.path(entry.file), entry.spec, options.get());
        auto engine = std::make_unique<OnnxRuntimeOnDevice>(*this, shared_, std::move(session), entry.spec);
        copies_sizes_ = copies_sizes_ || engine->copies_sizes();
        return engine;
    }

  private:
    EngineOptions options_;
    Shared shared_;
    std::unique_ptr<Buffer> scratch_;
    bool copies_sizes_ = false;

    // The reasons are in the Python backend.
    ort::SessionOptions session_options(bool fuses) const {
        auto made = ort::session_options(options_.threads, ORT_ENABLE_ALL);
        // Weights are as large as they are. The arena for scratch memory grows in powers of two.
        check(api().AddSessionConfigEntry(made.get(), "session.use_device_allocator_for_initializers", "1"));
        // The second run of a size would take all its memory again, in one piece.
        check(api().DisableMemPattern(made.get()));
        if (fuses) {
            // It turns a product and a sum into three operators for a product of matrices.
            check(api().AddSessionConfigEntry(made.get(), "optimization.disable_specified_optimizers",
                                              "MatMulAddFusion"));
        }
        shared_.place->append_provider(made.get(), fuses);
        return made;
    }
};

}  // namespace

std::unique_ptr<Backend> open_onnxruntime_on(std::unique_ptr<OrtPlace> place, std::shared_ptr<OrtEnv> environment,
                                             const EngineOptions& options) {
    return std::make_unique<OnnxRuntimeDeviceBackend>(std::move(place), std::move(environment), options);
}

}  // namespace odise

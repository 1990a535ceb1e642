#include "engine.hpp"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <utility>

#include "device.hpp"
#include "refitter.hpp"

namespace stand_in {

namespace {

using odise::Array;
using odise::Arrays;
using odise::DeviceTensors;
using odise::Shapes;
using odise::Sizes;

class Backend : public odise::DeviceBackend {
  public:
    explicit Backend(const odise::EngineOptions& options)
        : device_(std::make_shared<Device>(options.gpu)),
          scratch_(std::make_unique<odise::Buffer>(*device_)),
          options_(options) {}
    ~Backend() override {
        const odise::Current current(*device_);
        scratch_.reset();
    }

    std::string mismatch(const odise::BackendInfo& built) const override {
        return odise::engine_mismatch(built, version, device_->info());
    }
    const std::shared_ptr<odise::Device>& device() const override { return base_; }
    odise::Buffer& scratch() override { return *scratch_; }
    std::unique_ptr<odise::DeviceEngine> open_on_device(const odise::Bundle& bundle,
                                                        const odise::StageEntry& entry) override;
    Device& gpu() { return *device_; }

  private:
    std::shared_ptr<Device> device_;
    std::shared_ptr<odise::Device> base_ = device_;
    std::unique_ptr<odise::Buffer> scratch_;
    odise::EngineOptions options_;
};

// Graphs stay compiled for the next machine: most of a test would be compiling. It never ends: OpenVINO's own state may
// end before it.
std::shared_ptr<odise::Engine> compiled(const odise::Bundle& bundle, const odise::StageEntry& entry,
                                        const odise::EngineOptions& options) {
    static auto& backend = *odise::open_backend("openvino", options).release();
    static auto& known = *new std::map<std::string, std::shared_ptr<odise::Engine>>;
    const std::lock_guard lock(machine().mutex);
    auto& one = known[std::filesystem::canonical(bundle.path(entry.file)).string()];
    if (!one) one = backend.open_stage(bundle, entry);
    return one;
}

class Engine : public odise::DeviceEngine {
  public:
    // `engine`: nullptr if it has no weights. Then it makes no context.
    Engine(Backend& backend, const odise::StageSpec& spec, std::shared_ptr<odise::Engine> engine)
        : DeviceEngine(backend, spec), backend_(backend), engine_(std::move(engine)) {}

    void enqueue(const DeviceTensors& inputs, const DeviceTensors& outputs) override {
        const Sizes sizes = check_tensors(inputs, outputs);
        profile_for(sizes);
        require_weights();
        if (const auto found = machine().refuses.find(spec_.name); found != machine().refuses.end()) {
            throw odise::backend_error("stage " + spec_.name + ": stand_in could not run: " + found->second);
        }
        if (std::exchange(machine().has_error, false)) throw odise::backend_error("an error of before");
        if (backend_.gpu().is_recording() && machine().fails_recorded.count(spec_.name) > 0) {
            machine().has_error = true;
            throw odise::backend_error("operation not permitted when stream is capturing");
        }
        const Shapes shapes = shapes_of(inputs);
        const auto kept = own_.find(shapes);
        if (backend_.gpu().is_recording() && (kept == own_.end() || !kept->second.ran)) {
            throw Fault("stage " + spec_.name + " has new shapes while it is recorded");
        }
        const std::size_t needs = scratch(shapes);
        if (backend_.scratch().size() < needs) throw Fault("stage " + spec_.name + " has too little scratch memory");
        std::vector<Access> accesses;
        for (const auto* tensors : {&inputs, &outputs}) {
            for (const auto& [name, tensor] : *tensors) {
                if (tensor.address % 256 != 0) throw Fault(name + " is at no multiple of 256");
                accesses.push_back({tensor.address, tensor.bytes(), tensors == &outputs});
            }
        }
        const Address scratch_memory = backend_.scratch().reserve(needs);
        accesses.push_back({scratch_memory, needs, true});
        backend_.gpu().queue([this, sizes, inputs, outputs, scratch_memory,
                              needs] { run_late(sizes, inputs, outputs, scratch_memory, needs); },
                             std::move(accesses));
        if (kept != own_.end()) kept->second.ran = true;
    }

    std::size_t scratch(const Shapes& shapes) override {
        const Sizes sizes = sizes_of(shapes);
        profile_for(sizes);
        require_weights();
        double total = 0;
        for (const odise::Tensor& tensor : spec_.outputs) {
            total += static_cast<double>(odise::bytes_of(tensor.dtype, tensor.resolve(sizes)));
        }
        const auto found = machine().hungry.find(spec_.name);
        return static_cast<std::size_t>(std::ceil(total * (found == machine().hungry.end() ? 1 : found->second)));
    }

    void keep(const Shapes& shapes) override { ++own_[shapes].leases; }
    void release(const Shapes& shapes) noexcept override {
        const auto found = own_.find(shapes);
        if (found != own_.end() && --found->second.leases == 0) own_.erase(found);
    }
    bool can_be_recorded(const Shapes& shapes) override {
        const auto found = own_.find(shapes);
        return found != own_.end() && found->second.ran && machine().unrecordable.count(spec_.name) == 0;
    }

  private:
    struct Kept {
        int leases = 0;
        bool ran = false;
    };

    Backend& backend_;
    std::shared_ptr<odise::Engine> engine_;
    std::map<Shapes, Kept> own_;

    void require_weights() const {
        if (engine_) return;
        throw odise::backend_error("stage " + spec_.name +
                                   ": stand_in could not make an execution context: the engine has no weights");
    }

    void run_late(const Sizes& sizes, const DeviceTensors& inputs, const DeviceTensors& outputs, Address scratch_memory,
                  std::size_t needs) {
        ++machine().counts.runs;
        if (machine().crashes.count(spec_.name) > 0) {
            throw odise::backend_error("CUDA: an illegal memory access was encountered (cudaErrorIllegalAddress)");
        }
        Gpu& gpu = backend_.gpu().gpu();
        Arrays taken, given;
        for (const auto& [name, tensor] : inputs) {
            taken[name] = Array::empty(tensor.dtype, tensor.shape);
            std::memcpy(taken[name].data(), gpu.read(tensor.address, tensor.bytes()), tensor.bytes());
        }
        for (const auto& [name, tensor] : outputs) given[name] = Array::empty(tensor.dtype, tensor.shape);
        gpu.spoil(scratch_memory, needs);
        engine_->run(sizes, taken, given);
        for (const auto& [name, tensor] : outputs) gpu.write(tensor.address, given[name].data(), tensor.bytes());
    }
};

std::unique_ptr<odise::DeviceEngine> Backend::open_on_device(const odise::Bundle& bundle,
                                                             const odise::StageEntry& entry) {
    const std::string path = bundle.path(entry.file);
    const auto lacks = lacking(path);
    std::shared_ptr<odise::Engine> engine;
    if (!lacks || lacks->empty()) engine = compiled(bundle, entry, options_);
    if (entry.weights_from) {
        odise::StageEntry graph = entry;
        graph.file = *entry.weights_from;
        Refitter refitter(path, entry.spec.name, lacks, [&] { engine = compiled(bundle, graph, options_); });
        odise::refit(refitter, path, bundle.path(graph.file));
    }
    return std::make_unique<Engine>(*this, entry.spec, std::move(engine));
}

}  // namespace

std::unique_ptr<odise::Backend> open_stand_in(const odise::EngineOptions& options) {
    return std::make_unique<Backend>(options);
}

}  // namespace stand_in

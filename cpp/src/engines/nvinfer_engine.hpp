// An engine of TensorRT, or of TensorRT for RTX. See nvinfer.hpp.
#pragma once

#include "nvinfer.hpp"

namespace odise {
namespace {

// Shapes whose scratch memory is remembered.
constexpr std::size_t most_shapes = 256;

// What the engines of a backend share.
struct NvInferShared {
    const char* name;  // of the backend
    std::shared_ptr<Device> device;
    std::unique_ptr<Buffer> scratch;
    Log log;
};

// An execution context, the shapes that it was given last, and those that it ran last.
struct NvInferContext {
    std::unique_ptr<nvinfer1::IExecutionContext> context;
    std::size_t profile;
    Shapes shapes, ran;  // Empty: none.
    int leases = 0;
};

// It has one execution context per optimisation profile, and one for each set of shapes that `keep` names: a recorded
// graph is of use only as long as its context has the shapes it was recorded with.
class NvInferEngine : public DeviceEngine {
  public:
    NvInferEngine(DeviceBackend& backend, NvInferShared& shared, std::unique_ptr<nvinfer1::ICudaEngine> engine,
                  const StageSpec& spec)
        : DeviceEngine(backend, spec), shared_(shared), engine_(std::move(engine)) {}
    ~NvInferEngine() override;

    // Throws BackendError if tensors or profiles are not those of the declaration.
    void check_declaration(const std::string& path) const;
    void enqueue(const DeviceTensors& inputs, const DeviceTensors& outputs) override;
    std::size_t scratch(const Shapes& shapes) override;
    void keep(const Shapes& shapes) override;
    void release(const Shapes& shapes) noexcept override;
    bool can_be_recorded(const Shapes& shapes) override;

  private:
    NvInferShared& shared_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
    std::map<std::size_t, NvInferContext> contexts_;
    std::map<Shapes, NvInferContext> own_;
    std::map<std::pair<std::size_t, Shapes>, std::size_t> scratch_;

    NvInferContext& context(std::size_t profile);
    NvInferContext new_context(std::size_t profile) const;
    // Tells a context its input shapes, and returns how much scratch memory they need.
    std::size_t resize(NvInferContext& one, const Shapes& shapes);
    void require(bool done, const std::string& what) const;
};

NvInferEngine::~NvInferEngine() {
    try {
        const Current current(*shared_.device);
        own_.clear();
        contexts_.clear();
        engine_.reset();
    } catch (const Error&) {
        // At the end of a process the driver may be gone.
    }
}

void NvInferEngine::check_declaration(const std::string& path) const {
    using Types = std::vector<std::pair<std::string, std::string>>;
    const auto listed = [](const Types& types) {
        std::vector<std::string> parts;
        for (const auto& [name, type] : types) parts.push_back(repr(name) + ": " + repr(type));
        return "{" + joined(parts) + "}";
    };
    Types taken, given;
    for (std::int32_t index = 0; index < engine_->getNbIOTensors(); ++index) {
        const char* name = engine_->getIOTensorName(index);
        const bool is_input = engine_->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT;
        (is_input ? taken : given).emplace_back(name, type_name(engine_->getTensorDataType(name)));
    }
    for (const bool inputs : {true, false}) {
        Types declared;
        for (const Tensor& tensor : inputs ? spec_.inputs : spec_.outputs) {
            declared.emplace_back(tensor.name, name_of(tensor.dtype));
        }
        const Types& found = inputs ? taken : given;
        if (!std::is_permutation(found.begin(), found.end(), declared.begin(), declared.end())) {
            throw backend_error(path + " has " + (inputs ? "inputs " : "outputs ") + listed(found) +
                                    ", the manifest declares " + listed(declared),
                                again);
        }
    }
    const auto profiles = static_cast<std::size_t>(engine_->getNbOptimizationProfiles());
    if (!spec_.profiles.empty() && profiles != spec_.profiles.size()) {
        throw backend_error(path + " has " + std::to_string(profiles) +
                                " optimisation profiles, the manifest declares " +
                                std::to_string(spec_.profiles.size()),
                            again);
    }
}

void NvInferEngine::enqueue(const DeviceTensors& inputs, const DeviceTensors& outputs) {
    const Sizes sizes = check_tensors(inputs, outputs);
    const Shapes shapes = shapes_of(inputs);
    const auto own = own_.find(shapes);
    NvInferContext& one = own != own_.end() ? own->second : context(profile_for(sizes));
    const std::size_t needs = resize(one, shapes);
    if (one.ran != shapes) {
        for (const Tensor& tensor : spec_.outputs) {
            const Shape shape = shape_of(one.context->getTensorShape(tensor.name.c_str()));
            if (shape != tensor.resolve(sizes)) {
                throw backend_error("stage " + spec_.name + ": output " + tensor.name + " has shape " +
                                        tuple_of(shape) + ", declared " + tuple_of(tensor.resolve(sizes)),
                                    again);
            }
        }
    }
    const auto pointer = [](Address address) { return reinterpret_cast<void*>(static_cast<std::uintptr_t>(address)); };
    for (const auto* tensors : {&inputs, &outputs}) {
        for (const auto& [name, tensor] : *tensors) {
            require(one.context->setTensorAddress(name.c_str(), pointer(tensor.address)), "set the address of " + name);
        }
    }
    // Set on every run, since it moves when another engine needs more memory.
    const Address memory = shared_.scratch->reserve(std::max<std::size_t>(needs, 1));
    one.context->setDeviceMemoryV2(pointer(memory), static_cast<std::int64_t>(shared_.scratch->size()));
    require(one.context->enqueueV3(cuda_stream(*shared_.device)), "run");
    one.ran = shapes;
}

std::size_t NvInferEngine::scratch(const Shapes& shapes) {
    const std::size_t profile = profile_for(sizes_of(shapes));
    const auto known = scratch_.find({profile, shapes});
    return known != scratch_.end() ? known->second : resize(context(profile), shapes);
}

void NvInferEngine::keep(const Shapes& shapes) {
    auto found = own_.find(shapes);
    if (found == own_.end()) found = own_.emplace(shapes, new_context(profile_for(sizes_of(shapes)))).first;
    ++found->second.leases;
}

void NvInferEngine::release(const Shapes& shapes) noexcept {
    const auto found = own_.find(shapes);
    if (found != own_.end() && --found->second.leases == 0) own_.erase(found);
}

bool NvInferEngine::can_be_recorded(const Shapes& shapes) {
    const auto found = own_.find(shapes);
    if (found == own_.end() || found->second.ran.empty()) return false;
    return is_capturable(*found->second.context, cuda_stream(*shared_.device), 0);
}

NvInferContext& NvInferEngine::context(std::size_t profile) {
    const auto found = contexts_.find(profile);
    return found != contexts_.end() ? found->second : contexts_.emplace(profile, new_context(profile)).first->second;
}

NvInferContext NvInferEngine::new_context(std::size_t profile) const {
    NvInferContext made{std::unique_ptr<nvinfer1::IExecutionContext>(engine_->createExecutionContext(
                            nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED)),
                        profile,
                        {},
                        {}};
    require(made.context != nullptr, "make an execution context");
    if (!spec_.profiles.empty()) {
        const bool chosen =
            made.context->setOptimizationProfileAsync(static_cast<std::int32_t>(profile), cuda_stream(*shared_.device));
        require(chosen, "choose the profile " + spec_.profiles[profile].name);
    }
    return made;
}

std::size_t NvInferEngine::resize(NvInferContext& one, const Shapes& shapes) {
    const auto known = scratch_.find({one.profile, shapes});
    if (one.shapes == shapes && known != scratch_.end()) return known->second;
    one.shapes.clear(), one.ran.clear();
    for (const auto& [name, shape] : shapes) {
        require(one.context->setInputShape(name.c_str(), dims_of(shape)), "set the shape of " + name);
    }
    // It can be far less than the largest of the profile.
    const std::size_t needs = one.context->updateDeviceMemorySizeForShapes();
    if (scratch_.size() >= most_shapes) scratch_.clear();
    scratch_[{one.profile, shapes}] = needs;
    one.shapes = shapes;
    return needs;
}

void NvInferEngine::require(bool done, const std::string& what) const {
    if (done) return;
    throw backend_error("stage " + spec_.name + ": " + shared_.name + " could not " + what + ": " + shared_.log.said());
}

}  // namespace
}  // namespace odise

// The interface of a library that runs engines. A new one is a file and a line in registry.cpp.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "array.hpp"
#include "bundle/bundle.hpp"

namespace odise {

struct EngineOptions {
    std::string precision;  // of the bundle
    int threads;
    int gpu = 0;  // its index among those that CUDA sees
};

// An opened stage.
class Engine {
  public:
    Engine() = default;
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;
    virtual ~Engine() = default;

    // Runs the stage once. Inputs are as declared, outputs are allocated. Throws BackendError.
    virtual void run(const Sizes& sizes, const Arrays& inputs, const Arrays& outputs) = 0;
};

class DeviceBackend;

// Opens stages. It must outlive them.
class Backend {
  public:
    Backend() = default;
    Backend(const Backend&) = delete;
    Backend& operator=(const Backend&) = delete;
    virtual ~Backend() = default;

    // Why the engines cannot run here. Empty: they can.
    virtual std::string mismatch(const BackendInfo& built) const = 0;
    // Throws BackendError: the engine cannot be loaded, or is not what the manifest declares.
    virtual std::unique_ptr<Engine> open_stage(const Bundle& bundle, const StageEntry& entry) = 0;
    // Its other interface, if its engines take tensors of a device. nullptr: they take arrays of the host.
    virtual DeviceBackend* on_device() { return nullptr; }
};

// The names of the engines that this library was built with.
std::vector<std::string> engine_names();
// Adds one before the others, while none is opened: tests have engines of their own.
void add_engine(const std::string& name, std::unique_ptr<Backend> (*open)(const EngineOptions&));
// Opens one. Throws BackendError if it was not built in, or does not start.
std::unique_ptr<Backend> open_backend(const std::string& name, const EngineOptions& options);

// Threads that this process may use, in a container its share.
int available_threads();
// Whether the processor has "bf16" or "int8" arithmetic, from the flags that Linux reports. It has no other.
bool has_arithmetic(const std::string& name);

// What a stage can be compiled for, see odise_trt/backends/fixed_sizes.py.
Sizes held_axes(const StageSpec& spec);
// Empty: there is no axis of independent results.
std::string batch_axis(const StageSpec& spec);

}  // namespace odise

// ONNX Runtime over the memory of a device. See odise_trt/backends/onnxruntime_engine.py.
#pragma once

#include <functional>

#include "device/engine.hpp"
#include "onnxruntime_session.hpp"

namespace odise {

// The name of the backend whose graphs have operators of ONNX Runtime's provider for CUDA.
constexpr const char* onnxruntime_cuda = "onnxruntime_cuda";

// Where sessions run, and where their tensors are: a GPU (onnxruntime_cuda.cpp), and the stand-in of the tests.
class OrtPlace {
  public:
    OrtPlace() = default;
    OrtPlace(const OrtPlace&) = delete;
    OrtPlace& operator=(const OrtPlace&) = delete;
    virtual ~OrtPlace() = default;

    virtual const std::shared_ptr<Device>& device() const = 0;
    // Lets sessions that are opened with these options run there. `fuses`: their graphs have its own operators.
    // Throws BackendError.
    virtual void append_provider(OrtSessionOptions* options, bool fuses) const = 0;
    // What ONNX Runtime calls its memory.
    virtual ort::MemoryInfo memory() const = 0;
    // Queues what a run does on the stream of the device. Sessions on a GPU do so themselves.
    virtual void queue(const DeviceTensors& inputs, const DeviceTensors& outputs, const std::function<void()>& run) = 0;
};

// `environment`: of ort::start.
std::unique_ptr<Backend> open_onnxruntime_on(std::unique_ptr<OrtPlace> place, std::shared_ptr<OrtEnv> environment,
                                             const EngineOptions& options);

}  // namespace odise

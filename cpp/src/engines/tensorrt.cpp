// TensorRT: engines for the GPU that they were built on.
#include <NvInferRuntime.h>
#include <NvOnnxParser.h>

#include "nvinfer_backend.hpp"

namespace odise {

std::unique_ptr<Backend> open_tensorrt(const EngineOptions& options) {
    const FlavourNames names{"tensorrt", "TensorRT", "libnvinfer.so.", "libnvonnxparser.so.",
                             "install TensorRT, or pip install tensorrt and name its folder tensorrt_libs in "
                             "LD_LIBRARY_PATH"};
    return std::make_unique<NvInferBackend>(names, options);
}

}  // namespace odise

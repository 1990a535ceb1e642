// TensorRT for RTX: engines that are compiled for the GPU when they are loaded.
// Its headers and those of TensorRT declare the same namespace, with other layouts.
#define nvinfer1 nvinfer1_of_rtx
#include <NvInferRuntime.h>

#include "nvinfer_backend.hpp"

namespace odise {

std::unique_ptr<Backend> open_tensorrt_rtx(const EngineOptions& options) {
    const FlavourNames names{"tensorrt_rtx", "libtensorrt_rtx.so.",
                             "install TensorRT for RTX, or pip install tensorrt-rtx and name its folder "
                             "tensorrt_rtx_libs in LD_LIBRARY_PATH"};
    return std::make_unique<NvInferBackend>(names, options);
}

}  // namespace odise

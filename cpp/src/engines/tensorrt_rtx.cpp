// TensorRT for RTX: engines that are compiled for the GPU when they are loaded.
// Its headers and those of TensorRT declare the same namespaces, with other layouts.
#define nvinfer1 nvinfer1_of_rtx
#define nvonnxparser nvonnxparser_of_rtx
#include <NvInferRuntime.h>
#include <NvOnnxParser.h>

#include "nvinfer_backend.hpp"

namespace odise {

std::unique_ptr<Backend> open_tensorrt_rtx(const EngineOptions& options) {
    const FlavourNames names{"tensorrt_rtx", "TensorRT for RTX", "libtensorrt_rtx.so.",
                             "libtensorrt_onnxparser_rtx.so.",
                             "install TensorRT for RTX, or pip install tensorrt-rtx and name its folder "
                             "tensorrt_rtx_libs in LD_LIBRARY_PATH"};
    return std::make_unique<NvInferBackend>(names, options);
}

}  // namespace odise

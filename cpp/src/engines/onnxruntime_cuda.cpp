// ONNX Runtime's provider for CUDA. See odise_trt/backends/onnxruntime.py: the same settings, so the same numbers.
#include "device/cuda.hpp"
#include "onnxruntime_device.hpp"
#include "text/python_text.hpp"

namespace odise {

namespace {

using ort::api;
using ort::check;
using ort::make;

constexpr const char* provider_name = "CUDAExecutionProvider";

class CudaPlace : public OrtPlace {
  public:
    explicit CudaPlace(int gpu) : device_(open_cuda(gpu)) {}

    const std::shared_ptr<Device>& device() const override { return device_; }

    ort::MemoryInfo memory() const override {
        return make<ort::MemoryInfo>(&OrtApi::CreateMemoryInfo, "Cuda", OrtDeviceAllocator, device_->index(),
                                     OrtMemTypeDefault);
    }

    void append_provider(OrtSessionOptions* options, bool fuses) const override {
        const std::string index = std::to_string(device_->index());
        std::vector<const char*> keys = {"device_id", "use_tf32", "arena_extend_strategy"};
        // TF32 has a mantissa of 10 bits, that of fp16. Scratch memory would double when it has to grow.
        std::vector<const char*> values = {index.c_str(), "0", "kSameAsRequested"};
        if (fuses) {
            // An exhaustive search finds worse algorithms for these graphs.
            keys.push_back("cudnn_conv_algo_search");
            values.push_back("HEURISTIC");
        }
        try {
            const auto provider = make<ort::CudaOptions>(&OrtApi::CreateCUDAProviderOptions);
            check(api().UpdateCUDAProviderOptions(provider.get(), keys.data(), values.data(), keys.size()));
            // The last, since an update sets all others to what they are usually.
            check(api().UpdateCUDAProviderOptionsWithValue(provider.get(), "user_compute_stream",
                                                           reinterpret_cast<void*>(device_->stream())));
            check(api().SessionOptionsAppendExecutionProvider_CUDA_V2(options, provider.get()));
        } catch (const ort::Failure& error) {
            throw backend_error(std::string("onnxruntime could not start ") + provider_name + ": " + error.what(),
                                "check that CUDA and cuDNN fit this onnxruntime, and that LD_LIBRARY_PATH names them");
        }
    }

    void queue(const DeviceTensors&, const DeviceTensors&, const std::function<void()>& run) override { run(); }

  private:
    std::shared_ptr<Device> device_;
};

// Throws BackendError: the library was built without the provider.
void check_provider() {
    char** names = nullptr;
    int count = 0;
    check(api().GetAvailableProviders(&names, &count));
    std::vector<std::string> has(names, names + count);
    check(api().ReleaseAvailableProviders(names, count));
    if (std::find(has.begin(), has.end(), provider_name) != has.end()) return;
    throw backend_error(
        "this onnxruntime " + ort::version() + " has no " + provider_name + " (it has: " + joined(has) + ")",
        "let LD_LIBRARY_PATH name an onnxruntime for GPUs: onnxruntime-linux-x64-gpu-VERSION.tgz of its releases");
}

}  // namespace

std::unique_ptr<Backend> open_onnxruntime_cuda(const EngineOptions& options) {
    if (options.precision == "int8" || options.precision == "fp8") {
        throw backend_error(
            "onnxruntime runs " + options.precision + " graphs on the CPU only, to measure what they lose",
            "build for TensorRT: --backend tensorrt --precision " + options.precision);
    }
    // On a GPU it logs a warning per session, and an error for each algorithm of a convolution that does not fit the
    // GPU. What fails for good is an exception.
    auto environment = ort::start(ORT_LOGGING_LEVEL_FATAL);
    check_provider();
    return open_onnxruntime_on(std::make_unique<CudaPlace>(options.gpu), std::move(environment), options);
}

}  // namespace odise

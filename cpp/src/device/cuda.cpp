// A GPU through CUDA's runtime API. No kernel is ours: all work is copies and engines.
#include "cuda.hpp"

#include <cuda_runtime_api.h>

#include <vector>

namespace odise {

namespace {

constexpr const char* no_driver = "install NVIDIA's driver, or use a bundle for the backend onnxruntime";

void check(cudaError_t status, const char* function, const std::string& hint = {}) {
    if (status == cudaSuccess) return;
    const std::string message = std::string("CUDA: ") + function + " failed: " + cudaGetErrorString(status) + " (" +
                                cudaGetErrorName(status) + ")";
    if (status == cudaErrorMemoryAllocation) {
        // CUDA keeps this error, and the next call would report it again.
        cudaGetLastError();
        throw DeviceMemoryError(message);
    }
    throw backend_error(message, hint);
}

#define ODISE_CUDA(function, ...) check(function(__VA_ARGS__), #function)

void* pointer(Address address) { return reinterpret_cast<void*>(static_cast<std::uintptr_t>(address)); }
cudaStream_t stream_of(Handle handle) { return reinterpret_cast<cudaStream_t>(handle); }
cudaGraphExec_t graph_of(Handle handle) { return reinterpret_cast<cudaGraphExec_t>(handle); }

// 13020 -> "13.2"
std::string version_text(int number) {
    return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

class Cuda : public Device {
  public:
    explicit Cuda(int index) : index_(index) {
        int count = 0, major = 0, minor = 0, driver = 0;
        check(cudaGetDeviceCount(&count), "cudaGetDeviceCount", no_driver);
        if (index >= count) {
            throw backend_error("there is no GPU " + std::to_string(index) + ": CUDA sees " + std::to_string(count),
                                count == 0 ? no_driver : "");
        }
        cudaDeviceProp properties{};
        ODISE_CUDA(cudaGetDeviceProperties, &properties, index);
        ODISE_CUDA(cudaDeviceGetAttribute, &major, cudaDevAttrComputeCapabilityMajor, index);
        ODISE_CUDA(cudaDeviceGetAttribute, &minor, cudaDevAttrComputeCapabilityMinor, index);
        ODISE_CUDA(cudaDriverGetVersion, &driver);
        info_ = {properties.name, std::to_string(major) + "." + std::to_string(minor), version_text(driver)};
        const Current current(*this);
        // It does not wait for the default stream, which other libraries in the process may use.
        cudaStream_t made = nullptr;
        ODISE_CUDA(cudaStreamCreateWithFlags, &made, cudaStreamNonBlocking);
        stream_ = reinterpret_cast<Handle>(made);
        const cudaError_t status = cudaEventCreateWithFlags(&event_, cudaEventDisableTiming);
        if (status != cudaSuccess) cudaStreamDestroy(made);
        check(status, "cudaEventCreateWithFlags");
    }

    ~Cuda() override {
        int former = 0;
        if (cudaGetDevice(&former) != cudaSuccess || cudaSetDevice(index_) != cudaSuccess) return;
        cudaEventDestroy(event_);
        cudaStreamDestroy(stream_of(stream_));
        cudaSetDevice(former);
    }

    const DeviceInfo& info() const override { return info_; }
    int index() const override { return index_; }
    Handle stream() const override { return stream_; }

    int make_current() override {
        int former = 0;
        ODISE_CUDA(cudaGetDevice, &former);
        if (former != index_) ODISE_CUDA(cudaSetDevice, index_);
        return former;
    }
    void restore(int former) noexcept override {
        if (former != index_) cudaSetDevice(former);
    }

    std::size_t free_memory() override {
        std::size_t free = 0, total = 0;
        ODISE_CUDA(cudaMemGetInfo, &free, &total);
        return free;
    }
    Address allocate(std::size_t size) override {
        void* memory = nullptr;
        ODISE_CUDA(cudaMalloc, &memory, size);
        return reinterpret_cast<std::uintptr_t>(memory);
    }
    void free(Address address) noexcept override { cudaFree(pointer(address)); }
    void* allocate_pinned(std::size_t size) override {
        void* memory = nullptr;
        ODISE_CUDA(cudaMallocHost, &memory, size);
        return memory;
    }
    void free_pinned(void* memory) noexcept override { cudaFreeHost(memory); }

    void upload(Address target, const void* source, std::size_t size) override {
        ODISE_CUDA(cudaMemcpyAsync, pointer(target), source, size, cudaMemcpyHostToDevice, stream_of(stream_));
    }
    void download(void* target, Address source, std::size_t size) override {
        ODISE_CUDA(cudaMemcpyAsync, target, pointer(source), size, cudaMemcpyDeviceToHost, stream_of(stream_));
    }
    void copy(Address target, Address source, std::size_t size) override {
        ODISE_CUDA(cudaMemcpyAsync, pointer(target), pointer(source), size, cudaMemcpyDeviceToDevice,
                   stream_of(stream_));
    }
    void copy_rows(Address target, std::size_t target_pitch, Address source, std::size_t source_pitch, std::size_t row,
                   std::size_t rows) override {
        ODISE_CUDA(cudaMemcpy2DAsync, pointer(target), target_pitch, pointer(source), source_pitch, row, rows,
                   cudaMemcpyDeviceToDevice, stream_of(stream_));
    }
    void clear(Address address, std::size_t size) override {
        ODISE_CUDA(cudaMemsetAsync, pointer(address), 0, size, stream_of(stream_));
    }
    void synchronize() override { ODISE_CUDA(cudaStreamSynchronize, stream_of(stream_)); }

    int owner_of(Address address) override {
        cudaPointerAttributes found{};
        ODISE_CUDA(cudaPointerGetAttributes, &found, pointer(address));
        const bool is_there = found.type == cudaMemoryTypeDevice || found.type == cudaMemoryTypeManaged;
        return is_there ? found.device : -1;
    }
    void follow(Handle stream) override {
        ODISE_CUDA(cudaEventRecord, event_, stream_of(stream));
        ODISE_CUDA(cudaStreamWaitEvent, stream_of(stream_), event_, 0);
    }

    void begin_recording() override {
        // Engines and other threads may allocate meanwhile.
        ODISE_CUDA(cudaStreamBeginCapture, stream_of(stream_), cudaStreamCaptureModeRelaxed);
    }
    Handle end_recording(bool host_allowed) override {
        cudaGraph_t recorded = nullptr;
        ODISE_CUDA(cudaStreamEndCapture, stream_of(stream_), &recorded);
        const std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, cudaError_t (*)(cudaGraph_t)> owned(recorded,
                                                                                                      cudaGraphDestroy);
        if (!host_allowed) refuse_host(recorded);
        cudaGraphExec_t made = nullptr;
        ODISE_CUDA(cudaGraphInstantiateWithFlags, &made, recorded, 0);
        return reinterpret_cast<Handle>(made);
    }
    void launch(Handle graph) override { ODISE_CUDA(cudaGraphLaunch, graph_of(graph), stream_of(stream_)); }
    void free_graph(Handle graph) noexcept override { cudaGraphExecDestroy(graph_of(graph)); }

  private:
    int index_;
    DeviceInfo info_;
    Handle stream_ = 0;
    cudaEvent_t event_ = nullptr;

    static void refuse_host(cudaGraph_t recorded) {
        std::size_t count = 0;
        ODISE_CUDA(cudaGraphGetNodes, recorded, nullptr, &count);
        std::vector<cudaGraphNode_t> nodes(count);
        if (count > 0) ODISE_CUDA(cudaGraphGetNodes, recorded, nodes.data(), &count);
        for (cudaGraphNode_t node : nodes) {
            cudaGraphNodeType kind{};
            ODISE_CUDA(cudaGraphNodeGetType, node, &kind);
            if (kind == cudaGraphNodeTypeHost) throw backend_error("what was recorded calls functions of the host");
            if (kind != cudaGraphNodeTypeMemcpy) continue;
            cudaMemcpy3DParms copy{};
            ODISE_CUDA(cudaGraphMemcpyNodeGetParams, node, &copy);
            if (copy.kind == cudaMemcpyHostToDevice) throw backend_error("what was recorded copies from the host");
        }
    }
};

}  // namespace

std::shared_ptr<Device> open_cuda(int index) { return std::make_shared<Cuda>(index); }

}  // namespace odise

// The chain of a bundle whose engines run on a GPU. Between upload and download, the host does nothing.
// See odise_trt/chains/device.py.
#pragma once

#include "picture.hpp"
#include "programs.hpp"
#include "run/chain.hpp"
#include "vocabulary/table.hpp"

namespace odise {

// What is wanted of a picture.
struct DeviceJob {
    std::vector<std::string> tasks;
    std::vector<std::string> reads;  // what the host reads. Those that stay are the last
    std::vector<std::string> stay;   // of these, what stays on the device
    PictureSize size;
    const Pixels* there = nullptr;       // the picture, if it is on the device
    Array picture;                       // otherwise: resized
    Arrays request;                      // "request.*"
    std::shared_ptr<const Table> table;  // nullptr: no step needs a vocabulary
};

// What was made.
struct DeviceMade {
    Arrays arrays;
    std::map<std::string, std::shared_ptr<DeviceMemory>> maps;  // what stays on the device
    std::string note;  // what was done otherwise than usual, for whoever reads the result. Empty: nothing
};

class DeviceChain {
  public:
    // Loads the engines. Throws BackendError, BundleError, DeviceMemoryError.
    DeviceChain(const Bundle& bundle, DeviceBackend& backend, std::int64_t windows_at_once);
    DeviceChain(const DeviceChain&) = delete;
    DeviceChain& operator=(const DeviceChain&) = delete;
    ~DeviceChain();

    // Throws ImageError if a picture on the device cannot be taken.
    void check(const Pixels& pixels, const Size& wanted);
    // One picture at a time. Throws BackendError, DeviceMemoryError. Nothing is queued any more then.
    DeviceMade run(const DeviceJob& job, Timings& timings);
    // The engine of a stage, to be run on arrays of the host. One that no step has is loaded on first use.
    // Throws BackendError, BundleError, DeviceMemoryError.
    Engine& engine(const std::string& stage);
    // A copy of a picture on the device, uint8 (height, width, 3) in RGB. Throws ImageError, DeviceMemoryError.
    Array to_host(const Pixels& pixels);

  private:
    // All that has memory of the device, which must be the current one when it goes.
    struct Parts;

    const Bundle& bundle_;
    DeviceBackend& backend_;
    std::shared_ptr<Device> device_;
    std::unique_ptr<Parts> parts_;

    Ready queue(const DeviceJob& job, DeviceMade& made);
    std::vector<const Resident*> shared(const DeviceJob& job, const std::vector<std::string>& taken);
};

}  // namespace odise

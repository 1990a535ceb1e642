// Engines that take and give tensors of a device, without copies.
#pragma once

#include <shared_mutex>

#include "engines/engine.hpp"
#include "tensor.hpp"

namespace odise {

class DeviceEngine : public Engine {
  public:
    DeviceEngine(DeviceBackend& backend, StageSpec spec) : spec_(std::move(spec)), backend_(backend) {}

    const StageSpec& spec() const { return spec_; }

    // Runs it on arrays of the host: uploads, queues, downloads and waits.
    void run(const Sizes& sizes, const Arrays& inputs, const Arrays& outputs) override;

    // Queues one run. Nothing is copied, allocated or waited for if the memory that `scratch` names was reserved.
    // Throws BackendError: a tensor does not fit the declaration, or the engine could not be queued. Errors of the
    // run itself are thrown where the device is waited for.
    virtual void enqueue(const DeviceTensors& inputs, const DeviceTensors& outputs) = 0;
    // Bytes of scratch memory of a run with these input shapes. Throws BackendError if no profile holds them.
    virtual std::size_t scratch(const Shapes& shapes) = 0;

    // Prepares for recording runs with these input shapes. The next such run must not be recorded yet. Each call
    // needs a `release` when the recording is gone.
    virtual void keep(const Shapes& shapes) = 0;
    virtual void release(const Shapes& shapes) noexcept = 0;
    // Whether they can be recorded now, after `keep` and one more run.
    virtual bool can_be_recorded(const Shapes& shapes) = 0;

  protected:
    const StageSpec spec_;

    // The sizes of the axes. Throws BackendError if tensors do not fit the declaration.
    Sizes sizes_of(const Shapes& inputs) const;
    Sizes check_tensors(const DeviceTensors& inputs, const DeviceTensors& outputs) const;
    // Index of the profile for the sizes. 0: there are none.
    std::size_t profile_for(const Sizes& sizes) const;

  private:
    DeviceBackend& backend_;
};

// Opens such engines. They run in order on the stream of the device.
class DeviceBackend : public Backend {
  public:
    DeviceBackend* on_device() override { return this; }

    virtual const std::shared_ptr<Device>& device() const = 0;
    // One piece of scratch memory for all engines. Growing moves it: what was recorded before is of no use any more.
    virtual Buffer& scratch() = 0;
    // Why no runs of its engines can be recorded. Empty: they can, or each engine says so.
    virtual std::string no_graphs() const { return {}; }
    // Whether copies from the host may be recorded: the engines keep what they copy as it is.
    virtual bool records_host() const { return true; }
    virtual std::unique_ptr<DeviceEngine> open_on_device(const Bundle& bundle, const StageEntry& entry) = 0;

    std::unique_ptr<Engine> open_stage(const Bundle& bundle, const StageEntry& entry) override {
        return open_on_device(bundle, entry);
    }
};

// Held alone by whoever records, and shared by whoever else queues engines: cuDNN failed in a recording while another
// segmenter of the process ran (seen with ONNX Runtime 1.31).
std::shared_mutex& recording_turns();

// Why engines that were built as `built` cannot run in this version of a library on a GPU. Empty: they can.
std::string engine_mismatch(const BackendInfo& built, const std::string& version, const DeviceInfo& gpu);
// The system and processor that engines are tied to: "linux-x86_64".
std::string host_os();
// Whether a library's message says that memory ran out.
bool is_about_memory(const std::string& message);

}  // namespace odise

// Recorded CUDA graphs: one launch instead of some hundred.
#pragma once

#include "program.hpp"
#include "recent.hpp"

namespace odise {

// A program that was recorded, or that will be.
class Recording {
  public:
    // Prepares the engines. Throws BackendError.
    Recording(Device& device, std::shared_ptr<const Program> program) : device_(device), program_(std::move(program)) {
        program_->keep();
    }
    Recording(const Recording&) = delete;
    Recording& operator=(const Recording&) = delete;
    // The device has run all that was queued.
    ~Recording() {
        if (graph_ != 0) device_.free_graph(graph_);
        program_->release();
    }

    bool is_made() const { return graph_ != 0; }
    void launch() { device_.launch(graph_); }
    // Records the program, which has just been queued. Recording runs nothing. Throws BackendError.
    void make(bool host_allowed);

  private:
    Device& device_;
    std::shared_ptr<const Program> program_;
    Handle graph_ = 0;
};

// Programs that were recorded. A program is recorded after it ran once more with contexts of its own.
class Recordings {
  public:
    // `refusal`: why nothing can be recorded. `host_allowed`: whether copies from the host can be part of it.
    Recordings(Device& device, std::size_t most, std::string refusal, bool host_allowed)
        : device_(device), kept_(most), refusal_(std::move(refusal)), host_allowed_(host_allowed) {}

    // Queues a program, from its recording if there is one.
    // `name`: of the program and all its addresses. `ran_before`: whether a picture of this size was there before. If
    // not, more of its size may never come. Throws BackendError.
    void run(const std::string& name, const std::shared_ptr<const Program>& program, bool ran_before);
    void clear() { kept_.clear(); }
    // Why nothing is recorded. Empty: programs are.
    const std::string& refusal() const { return refusal_; }

  private:
    Device& device_;
    Recent<std::unique_ptr<Recording>> kept_;
    std::string refusal_;
    bool host_allowed_;
};

}  // namespace odise

// A plan with addresses: the runs of the engines in order, ready to be queued as often as wanted.
#pragma once

#include <variant>

#include "plan.hpp"

namespace odise {

// One run of an engine.
struct Launch {
    DeviceEngine* engine;
    DeviceTensors inputs, outputs;
};

// Zeros, for what a first run is given as carried.
struct Clear {
    DeviceTensor target;
};

// A part of a tensor to or from an aligned place.
struct Copy {
    DeviceTensor target, source;
};

using Operation = std::variant<Launch, Clear, Copy>;

class Program {
  public:
    explicit Program(std::vector<Operation> operations) : operations_(std::move(operations)) {}

    // Queues everything. Nothing is waited for. Throws BackendError.
    void queue(Device& device) const;
    // Queues the first run of an engine only. Throws BackendError.
    void queue_first() const;
    // Prepares every engine for recording, and undoes it, see DeviceEngine::keep.
    void keep() const;
    void release() const noexcept { release(operations_.size()); }
    bool can_be_recorded() const;

  private:
    std::vector<Operation> operations_;

    void release(std::size_t count) const noexcept;
};

// Gives every tensor of a plan its address.
// `arena`: that of the arena. `tensors`: "source.tensor" of what the host gives, and of what it reads at the end.
Program bind(const Plan& plan, const Engines& engines, Address arena, DeviceTensors tensors);

// Queues one run, and puts the name of the stage into its errors.
void queue_launch(const Launch& launch);

}  // namespace odise

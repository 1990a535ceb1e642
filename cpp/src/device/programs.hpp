// The program of a picture: planned, given its memory, and kept for the next picture of its size.
#pragma once

#include "recordings.hpp"
#include "resident.hpp"
#include "slot.hpp"

namespace odise {

// A program with its memory.
struct Ready {
    std::shared_ptr<const Program> program;
    std::shared_ptr<const Plan> plan;
    std::string name, size;  // of the program with its addresses, and of its plan
    DeviceTensors own;       // what goes up with the picture, and what comes down
};

// What a program is made for.
struct Wanted {
    const std::vector<std::string>& tasks;
    const std::vector<std::string>& reads;
    const Packed& takes;                        // what goes up with the picture
    const std::vector<const Resident*>& there;  // what is on the device already
    std::size_t scratch;                        // bytes that something beside the program needs
};

// Makes programs, and holds the memory that their steps share.
class Programs {
  public:
    Programs(const Manifest& manifest, const Engines& engines, DeviceBackend& backend, const AtOnce& asked);

    // Throws BackendError: the picture does not fit the engines. DeviceMemoryError: the device has too little memory,
    // however little runs at once.
    Ready ready(const Wanted& wanted, Slot& slot);
    // Queues a program. It is recorded if its size was there before.
    void queue(const Ready& ready);
    // Lets half as much run at once as in a plan, after memory ran out in a run. False: not possible.
    bool take_less(const Plan& plan);
    // Why nothing is recorded. Empty: programs are.
    const std::string& refusal() const { return recordings_.refusal(); }

  private:
    const Manifest& manifest_;
    const Engines& engines_;
    DeviceBackend& backend_;
    Device& device_;
    AtOnce asked_, allowed_;
    Buffer arena_;
    std::pair<Address, Address> addresses_;  // of arena and scratch memory
    Recent<std::shared_ptr<const Plan>> plans_;
    Recent<std::shared_ptr<const Program>> programs_;
    Recent<bool> ran_;
    Recordings recordings_;

    std::shared_ptr<const Plan> make(const Wanted& wanted, const Shapes& given, std::size_t budget) const;
};

}  // namespace odise

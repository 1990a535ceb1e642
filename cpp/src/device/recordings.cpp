#include "recordings.hpp"

#include <mutex>

namespace odise {

namespace {

void queue_beside_others(const Program& program, Device& device) {
    const std::shared_lock lock(recording_turns());
    program.queue(device);
}

}  // namespace

void Recording::make(bool host_allowed) {
    device_.begin_recording();
    try {
        program_->queue(device_);
    } catch (const Error&) {
        try {
            device_.free_graph(device_.end_recording(true));
        } catch (const Error&) {
            // The first error tells why.
        }
        throw;
    }
    graph_ = device_.end_recording(host_allowed);
}

void Recordings::run(const std::string& name, const std::shared_ptr<const Program>& program, bool ran_before) {
    auto* one = kept_.find(name);
    if (one != nullptr && (*one)->is_made()) return (*one)->launch();
    if (one == nullptr && ran_before && refusal_.empty()) {
        one = &kept_.put(name, std::make_unique<Recording>(device_, program));
    }
    queue_beside_others(*program, device_);
    if (one == nullptr || !refusal_.empty() || !program->can_be_recorded()) return;
    const std::unique_lock lock(recording_turns());
    try {
        (*one)->make(host_allowed_);
    } catch (const Error& error) {
        // An engine did what a graph cannot hold. All goes on without graphs, and results say so.
        refusal_ = error.what();
        try {
            // CUDA keeps the error for the next call of the library that failed. What is queued once more takes it. It
            // writes what it wrote before, and nothing that the picture still needs.
            program->queue_first();
        } catch (const Error&) {
            // That was it.
        }
    }
}

}  // namespace odise

#include "recordings.hpp"

namespace odise {

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
    program->queue(device_);
    if (one == nullptr || !refusal_.empty() || !program->can_be_recorded()) return;
    try {
        (*one)->make(host_allowed_);
    } catch (const Error& error) {
        // An engine did what a graph cannot hold. All goes on without graphs, and results say so.
        refusal_ = error.what();
    }
}

}  // namespace odise

#include "programs.hpp"

#include <algorithm>

#include "text/python_text.hpp"

namespace odise {

namespace {

// What is kept: plans and programs, and recorded graphs.
constexpr std::size_t most_plans = 32, most_graphs = 8;
constexpr std::size_t mib = 1 << 20;

std::string name_of_size(const Wanted& wanted, const Shapes& given) {
    std::string name = joined(wanted.tasks, "+") + " " + joined(wanted.reads, "+");
    for (const auto& [tensor, shape] : given) name += " " + tensor + tuple_of(shape);
    return name;
}

std::string name_of_program(const std::string& size, const Plan& plan, const Wanted& wanted, const Slot& slot) {
    std::string name = size + " slot " + std::to_string(slot.moved());
    for (const auto& [stage, count] : plan.per_run) name += " " + stage + " " + std::to_string(count);
    for (const Resident* one : wanted.there) name += " #" + std::to_string(one->serial());
    return name;
}

}  // namespace

Programs::Programs(const Manifest& manifest, const Engines& engines, DeviceBackend& backend, const AtOnce& asked)
    : manifest_(manifest),
      engines_(engines),
      backend_(backend),
      device_(*backend.device()),
      asked_(asked),
      allowed_(asked),
      arena_(device_),
      plans_(most_plans),
      programs_(most_plans),
      ran_(most_plans),
      recordings_(device_, most_graphs, backend_.no_graphs(), backend_.records_host()) {}

std::shared_ptr<const Plan> Programs::make(const Wanted& wanted, const Shapes& given, std::size_t budget) const {
    return std::make_shared<const Plan>(
        make_plan(manifest_, wanted.tasks, given, wanted.reads, engines_, asked_, allowed_, budget));
}

Ready Programs::ready(const Wanted& wanted, Slot& slot) {
    DeviceTensors tensors;
    for (const Resident* one : wanted.there) tensors.insert(one->tensors().begin(), one->tensors().end());
    Shapes given = shapes_of(tensors);
    for (const auto& [name, tensor] : wanted.takes.tensors()) given[name] = tensor.shape;
    Ready made;
    made.size = name_of_size(wanted, given);
    if (const auto* known = plans_.find(made.size)) {
        made.plan = *known;
    } else {
        // Some of the free memory stays free: allocations are rounded up, and others allocate, too.
        const std::size_t held = arena_.size() + backend_.scratch().size() + slot.size();
        made.plan = make(wanted, given, device_.free_memory() / 100 * 95 + held);
    }
    std::pair<Address, Address> addresses;
    for (;;) {
        const Plan& plan = *made.plan;
        try {
            made.own = slot.reserve(wanted.takes, plan.reads);
            addresses.first = arena_.reserve(std::max<std::size_t>(plan.arena.bytes, 1));
            addresses.second = backend_.scratch().reserve(std::max<std::size_t>({plan.scratch, wanted.scratch, 1}));
            break;
        } catch (const DeviceMemoryError&) {
            const auto smaller = make(wanted, given, plan.bytes() - 1);
            if (smaller->bytes() >= plan.bytes()) {
                throw DeviceMemoryError(
                    "the GPU has too little memory: beside the engines, a picture of this size needs " +
                        std::to_string(plan.bytes() / mib) + " MiB, " + std::to_string(device_.free_memory() / mib) +
                        " MiB are free",
                    "close what else uses the GPU, take smaller pictures or fewer categories, or use a GPU with more "
                    "memory");
            }
            made.plan = smaller;
        }
    }
    plans_.put(made.size, made.plan);
    if (addresses != addresses_) {
        // Growing waited for all that used the old memory.
        addresses_ = addresses;
        recordings_.clear();
        programs_.clear();
    }
    made.name = name_of_program(made.size, *made.plan, wanted, slot);
    if (const auto* known = programs_.find(made.name)) {
        made.program = *known;
    } else {
        tensors.insert(made.own.begin(), made.own.end());
        made.program = std::make_shared<const Program>(bind(*made.plan, engines_, addresses.first, std::move(tensors)));
        programs_.put(made.name, made.program);
    }
    return made;
}

void Programs::queue(const Ready& ready) {
    recordings_.run(ready.name, ready.program, ran_.find(ready.size) != nullptr);
    ran_.put(ready.size, true);
}

bool Programs::take_less(const Plan& plan) {
    const AtOnce most = plan.most();
    if (most.windows <= 1 && most.rows <= 1) return false;
    allowed_ = {std::max<std::int64_t>(1, most.windows / 2), std::max<std::int64_t>(1, most.rows / 2)};
    plans_.clear();
    return true;
}

}  // namespace odise

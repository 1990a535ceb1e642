#include "plan.hpp"

#include <algorithm>

#include "run/steps.hpp"
#include "text/python_text.hpp"

namespace odise {

namespace {

// Bytes that a tensor of a block of rows may have. More save no launches worth naming.
constexpr std::int64_t block = 1 << 28;

PerRun runs_of(const std::vector<SizedStep>& steps, const AtOnce& most) {
    PerRun found;
    for (const SizedStep& one : steps) {
        const std::string& axis = one.step->repeat;
        if (axis.empty()) continue;
        found[one.step->stage] = part_of_run(*one.step, *one.spec, one.sizes, most.of(axis), block);
    }
    return found;
}

// Scratch bytes of the hungriest run of a step.
std::size_t scratch_of(const SizedStep& one, DeviceEngine& engine, const PerRun& per_run) {
    const std::int64_t whole = one.runs_over(), count = std::min(count_of(per_run, one.step->stage), whole);
    std::size_t most = 0;
    for (const std::int64_t taken : {count, whole % count}) {
        if (taken == 0) continue;
        Shapes shapes;
        for (const Tensor& tensor : one.spec->inputs) shapes[tensor.name] = one.part(tensor, taken);
        most = std::max(most, engine.scratch(shapes));
    }
    return most;
}

}  // namespace

std::string Plan::reduced() const {
    std::map<std::string, std::int64_t> fewest;
    for (const SizedStep& one : steps) {
        const std::int64_t count = count_of(per_run, one.step->stage);
        if (one.step->repeat.empty() || count >= wanted.at(one.step->stage)) continue;
        const auto place = fewest.emplace(one.step->repeat, count).first;
        place->second = std::min(place->second, count);
    }
    std::vector<std::string> said;
    for (const char* axis : {"windows", "rows"}) {
        const auto found = fewest.find(axis);
        if (found != fewest.end()) said.push_back(std::to_string(found->second) + " " + axis);
    }
    return joined(said);
}

AtOnce Plan::most() const {
    AtOnce found{1, 1};
    for (const SizedStep& one : steps) {
        const std::int64_t count = count_of(per_run, one.step->stage);
        if (one.step->repeat == "windows") found.windows = std::max(found.windows, count);
        if (one.step->repeat == "rows") found.rows = std::max(found.rows, count);
    }
    return found;
}

Plan make_plan(const Manifest& manifest, const std::vector<std::string>& tasks, const Shapes& given,
               const std::vector<std::string>& reads, const Engines& engines, const AtOnce& asked,
               const AtOnce& allowed, std::size_t budget) {
    Plan plan;
    plan.steps = size_steps(manifest, needed_steps(manifest, tasks, reads), given);
    std::map<std::string, std::pair<Dtype, Shape>> made;
    for (const SizedStep& one : plan.steps) {
        for (const Tensor& tensor : one.spec->outputs) made[one.name_of(tensor)] = {tensor.dtype, one.shape(tensor)};
    }
    Shapes elsewhere;
    for (const std::string& name : reads) {
        const auto found = made.find(name);
        if (found == made.end()) continue;  // These tasks do not make it.
        plan.reads.add(name, found->second.first, found->second.second);
        elsewhere[name] = found->second.second;
    }
    plan.wanted = runs_of(plan.steps, asked);
    plan.per_run = plan.allowed = runs_of(plan.steps, allowed);
    for (;;) {
        plan.arena = place(lifetimes(plan.steps, plan.per_run, elsewhere));
        plan.scratch = 0;
        std::string hungriest;
        for (const SizedStep& one : plan.steps) {
            const std::size_t needs = scratch_of(one, *engines.at(one.step->stage), plan.per_run);
            if (hungriest.empty() || needs > plan.scratch) hungriest = one.step->stage, plan.scratch = needs;
        }
        if (plan.bytes() <= budget || count_of(plan.per_run, hungriest) <= 1) return plan;
        std::int64_t& count = plan.per_run.at(hungriest);
        count = (count + 1) / 2;
    }
}

}  // namespace odise

#include "chain.hpp"

#include <algorithm>
#include <chrono>

#include "engines/host/stages.hpp"
#include "error.hpp"
#include "steps.hpp"

namespace odise {

namespace {

// Bytes that a tensor of a block of rows may have.
constexpr std::int64_t block = 1 << 25;

}  // namespace

Chain::Chain(const Bundle& bundle, Backend& backend, std::int64_t windows_at_once, bool graphs_only)
    : bundle_(bundle), manifest_(bundle.manifest), backend_(backend), windows_at_once_(windows_at_once) {
    for (const StageEntry* entry : largest_first(bundle)) {
        auto& engine = engines_[entry->spec.name];
        if (!graphs_only) engine = host_stage(entry->spec);
        if (!engine) engine = backend.open_stage(bundle, *entry);
    }
}

Engine& Chain::engine(const std::string& stage) {
    auto& engine = engines_[stage];
    if (!engine) engine = backend_.open_stage(bundle_, manifest_.stage(stage));
    return *engine;
}

Arrays Chain::run(const std::vector<std::string>& tasks, Arrays tensors, const std::vector<std::string>& reads,
                  Timings& timings) {
    const std::vector<const Step*> steps = needed_steps(manifest_, tasks, reads);
    std::map<std::string, std::size_t> last_use;
    for (std::size_t number = 0; number < steps.size(); ++number) {
        for (const auto& [_, wiring] : steps[number]->inputs) last_use[wiring] = number;
    }
    for (const std::string& name : reads) last_use[name] = steps.size();
    for (std::size_t number = 0; number < steps.size(); ++number) {
        const Step& step = *steps[number];
        const auto start = std::chrono::steady_clock::now();
        Arrays inputs;
        for (const auto& [name, wiring] : step.inputs) {
            const auto found = tensors.find(wiring);
            if (found == tensors.end()) {
                throw backend_error("stage " + step.stage + " takes " + wiring + ", which the host does not give");
            }
            inputs[name] = found->second;
        }
        for (auto& [name, array] : run_step(step, inputs)) {
            const std::string wiring = step.stage + "." + name;
            if (last_use.count(wiring) > 0) tensors[wiring] = array;
        }
        for (auto one = tensors.begin(); one != tensors.end();) {
            const auto use = last_use.find(one->first);
            one = use == last_use.end() || use->second <= number ? tensors.erase(one) : std::next(one);
        }
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
        timings.emplace_back(step.stage, seconds.count());
    }
    return tensors;
}

Arrays Chain::run_step(const Step& step, const Arrays& inputs) {
    const StageSpec& spec = manifest_.stage(step.stage).spec;
    Engine& engine = *engines_.at(step.stage);
    Sizes sizes;
    for (const Tensor& tensor : spec.inputs) {
        const auto array = inputs.find(tensor.name);
        if (array != inputs.end()) learn_sizes(spec, tensor, array->second.shape, sizes);
    }
    Arrays outputs, carried;
    for (const Tensor& tensor : spec.outputs) outputs[tensor.name] = Array::empty(tensor.dtype, tensor.resolve(sizes));
    for (const auto& [_, back] : step.carried) {
        const Tensor& tensor = *spec.input(back);
        carried[back] = Array::zeros(tensor.dtype, tensor.resolve(sizes));
    }
    if (step.repeat.empty()) {
        check_sizes(spec, sizes);
        engine.run(sizes, inputs, outputs);
        return outputs;
    }
    const std::int64_t whole = sizes.at(step.repeat);
    const std::int64_t limit = step.repeat == "windows" ? windows_at_once_ : whole;
    const std::int64_t most = part_of_run(step, spec, sizes, limit, block);
    for (std::int64_t start = 0; start < whole; start += most) {
        const std::int64_t stop = std::min(start + most, whole);
        Arrays given = carried, made;
        for (const Tensor& tensor : spec.inputs) {
            const auto array = inputs.find(tensor.name);
            if (array == inputs.end()) continue;
            given[tensor.name] = step.is_repeated(tensor) ? array->second.part(start, stop) : array->second;
        }
        for (const Tensor& tensor : spec.outputs) {
            const Array& array = outputs[tensor.name];
            made[tensor.name] = step.is_repeated(tensor) ? array.part(start, stop) : array;
        }
        Sizes part = sizes;
        part[step.repeat] = stop - start;
        check_sizes(spec, part);
        engine.run(part, given, made);
        // What was carried is free to be written to: the engine has read it.
        for (const auto& [output, back] : step.carried) std::swap(carried[back], outputs[output]);
    }
    for (const auto& [output, back] : step.carried) std::swap(carried[back], outputs[output]);
    return outputs;
}

}  // namespace odise

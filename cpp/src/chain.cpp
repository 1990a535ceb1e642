#include "chain.hpp"

#include <algorithm>
#include <chrono>
#include <set>

#include "engines/host_stages.hpp"
#include "error.hpp"

namespace odise {

namespace {

// Bytes that a tensor of a block of rows may have.
constexpr std::int64_t block = 1 << 25;

// The most of an axis that an engine takes beside the sizes of the other axes.
std::int64_t largest(const StageSpec& spec, const std::string& axis, const Sizes& sizes) {
    std::int64_t most = 0;
    for (const Profile& profile : spec.profiles) {
        const auto fits = [&](const auto& pair) {
            const auto size = sizes.find(pair.first);
            return pair.first == axis || size == sizes.end() ||
                   (pair.second.least <= size->second && size->second <= pair.second.most);
        };
        const Range* range = profile.find(axis);
        if (range != nullptr && std::all_of(profile.ranges.begin(), profile.ranges.end(), fits)) {
            most = std::max(most, range->most);
        }
    }
    return most > 0 ? most : spec.axis(axis).range.most;
}

}  // namespace

Chain::Chain(const Bundle& bundle, Backend& backend, std::int64_t windows_at_once, bool graphs_only)
    : manifest_(bundle.manifest), windows_at_once_(windows_at_once) {
    if (manifest_.pipeline.empty()) {
        throw bundle_error("the bundle " + bundle.folder + " has no pipeline", bundle.rebuild_hint());
    }
    std::vector<std::pair<std::uint64_t, const StageEntry*>> entries;
    for (const Step& step : manifest_.pipeline) {
        const StageEntry& entry = manifest_.stage(step.stage);
        std::uint64_t size = 0;
        for (const std::string& name : entry.files) {
            const FileEntry* file = manifest_.file(name);
            size += file == nullptr ? 0 : file->bytes;
        }
        entries.emplace_back(size, &entry);
    }
    // The largest comes first: while it is opened it needs most, and then nothing else is there yet.
    std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    for (const auto& [_, entry] : entries) {
        auto& engine = engines_[entry->spec.name];
        if (!graphs_only) engine = host_stage(entry->spec);
        if (!engine) engine = backend.open_stage(bundle, *entry);
    }
}

Arrays Chain::run(const std::vector<std::string>& tasks, Arrays tensors, const std::vector<std::string>& reads,
                  Timings& timings) {
    const std::vector<const Step*> steps = needed(tasks, reads);
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

std::vector<const Step*> Chain::needed(const std::vector<std::string>& tasks,
                                       const std::vector<std::string>& reads) const {
    std::set<std::string> wanted(reads.begin(), reads.end());
    std::vector<const Step*> steps;
    for (auto step = manifest_.pipeline.rbegin(); step != manifest_.pipeline.rend(); ++step) {
        const auto& outputs = manifest_.stage(step->stage).spec.outputs;
        const bool gives = std::any_of(outputs.begin(), outputs.end(), [&](const Tensor& tensor) {
            return wanted.count(step->stage + "." + tensor.name) > 0;
        });
        if (!gives || !step->serves(tasks)) continue;
        for (const auto& [_, wiring] : step->inputs) wanted.insert(wiring);
        steps.push_back(&*step);
    }
    std::reverse(steps.begin(), steps.end());
    return steps;
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
    const std::int64_t whole = sizes.at(step.repeat), most = per_run(step, spec, sizes);
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

std::int64_t Chain::per_run(const Step& step, const StageSpec& spec, const Sizes& sizes) const {
    const std::int64_t whole = sizes.at(step.repeat);
    std::int64_t limit = std::min(whole, largest(spec, step.repeat, sizes));
    if (step.repeat == "rows") {
        // A run has tensors with a number for each row, column, and query or category.
        const auto size = [&](const char* axis) {
            const auto found = sizes.find(axis);
            return found == sizes.end() ? std::int64_t{1} : found->second;
        };
        std::int64_t count = size("categories");
        for (const Tensor& tensor : spec.inputs) {
            for (const Dimension& dimension : tensor.shape) count = std::max(count, dimension.size);
        }
        limit = std::clamp<std::int64_t>(block / (4 * count * size("output_width")), 1, limit);
    } else {
        limit = std::clamp<std::int64_t>(windows_at_once_, 1, limit);
    }
    // Blocks of one size: the last one is not much smaller than the others.
    const std::int64_t runs = (whole + limit - 1) / limit;
    return (whole + runs - 1) / runs;
}

}  // namespace odise

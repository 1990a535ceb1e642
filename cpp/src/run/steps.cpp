#include "steps.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "error.hpp"
#include "text/python_text.hpp"

namespace odise {

namespace {

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

std::vector<const StageEntry*> largest_first(const Bundle& bundle) {
    const Manifest& manifest = bundle.manifest;
    if (manifest.pipeline.empty()) {
        throw bundle_error("the bundle " + bundle.folder + " has no pipeline", bundle.rebuild_hint());
    }
    std::vector<std::pair<std::uint64_t, const StageEntry*>> entries;
    for (const Step& step : manifest.pipeline) {
        const StageEntry& entry = manifest.stage(step.stage);
        std::uint64_t size = 0;
        for (const std::string& name : entry.files) {
            const FileEntry* file = manifest.file(name);
            size += file == nullptr ? 0 : file->bytes;
        }
        entries.emplace_back(size, &entry);
    }
    // The largest comes first: while it is opened it needs most, and then nothing else is there yet.
    std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    std::vector<const StageEntry*> found;
    for (const auto& [_, entry] : entries) found.push_back(entry);
    return found;
}

std::vector<const Step*> needed_steps(const Manifest& manifest, const std::vector<std::string>& tasks,
                                      const std::vector<std::string>& reads) {
    std::set<std::string> wanted(reads.begin(), reads.end());
    std::vector<const Step*> steps;
    for (auto step = manifest.pipeline.rbegin(); step != manifest.pipeline.rend(); ++step) {
        const auto& outputs = manifest.stage(step->stage).spec.outputs;
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

std::int64_t part_of_run(const Step& step, const StageSpec& spec, const Sizes& sizes, std::int64_t most,
                         std::int64_t block) {
    const std::int64_t whole = sizes.at(step.repeat);
    std::int64_t limit = std::min({whole, largest(spec, step.repeat, sizes), most});
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
        limit = std::min(limit, block / (4 * count * size("output_width")));
    }
    limit = std::max<std::int64_t>(limit, 1);
    // Blocks of one size: the last one is not much smaller than the others.
    const std::int64_t runs = (whole + limit - 1) / limit;
    return (whole + runs - 1) / runs;
}

std::size_t choose_profile(const StageSpec& spec, const Sizes& sizes) {
    std::size_t best = spec.profiles.size();
    double least = 0;
    for (std::size_t index = 0; index < spec.profiles.size(); ++index) {
        double distance = 0;
        bool fits = true;
        for (const auto& [axis, size] : sizes) {
            const Range* range = spec.profiles[index].find(axis);
            if (range == nullptr) continue;
            fits &= range->least <= size && size <= range->most;
            distance += std::abs(std::log(static_cast<double>(size) / static_cast<double>(range->typical)));
        }
        if (fits && (best == spec.profiles.size() || distance < least)) best = index, least = distance;
    }
    if (best < spec.profiles.size()) return best;
    std::vector<std::string> what, have;
    for (const auto& [axis, size] : sizes) what.push_back(axis + "=" + std::to_string(size));
    for (const Profile& profile : spec.profiles) have.push_back(profile.name);
    throw backend_error("stage " + spec.name + ": no optimisation profile holds " + joined(what) +
                            " (profiles: " + (have.empty() ? "none" : joined(have)) + ")",
                        "build the stage with a profile for this size");
}

}  // namespace odise

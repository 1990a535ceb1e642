#include "extraction.hpp"

#include <cmath>
#include <cstring>
#include <tuple>

#include "error.hpp"
#include "text/python_text.hpp"

namespace odise {

namespace {

using Names = std::vector<std::string>;

const Names raw = {"enc5", "enc7", "un2", "un5", "un8", "un11", "dec2", "dec5"};
const Names projected = {"s2", "s3", "s4", "s5"};
constexpr const char *captioner = "captioner", *pyramid_stage = "features";
constexpr std::int64_t steps = 1000;
// Longest side of a resized picture in pixels. It has to fit into memory.
constexpr std::int64_t largest = 1 << 15;

bool has(const Names& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

Names all_of(const Names& some, const Names& more) {
    Names all = some;
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

Names only(const Names& names, const Names& wanted) {
    Names found;
    std::copy_if(names.begin(), names.end(), std::back_inserter(found),
                 [&](const std::string& name) { return has(wanted, name); });
    return found;
}

Names requested(const MapsRequest& request, bool has_raw) {
    const std::int64_t step = request.time_step;
    if (step < 0 || step >= steps) {
        throw feature_error("time step " + std::to_string(step) + " does not exist",
                            "give one from 0 to " + std::to_string(steps - 1));
    }
    if (request.all) {
        if (step != 0) return raw;
        return has_raw ? all_of(raw, projected) : projected;
    }
    Names given, unknown;
    for (const std::string& name : request.names) {
        if (!has(given, name)) given.push_back(name);
    }
    for (const std::string& name : given) {
        if (!has(raw, name) && !has(projected, name)) unknown.push_back(repr(name));
    }
    if (!unknown.empty() || given.empty()) {
        throw feature_error("there is no feature " + (unknown.empty() ? repr("") : joined(unknown)),
                            "features: " + joined(all_of(raw, projected)));
    }
    const Names pyramid = only(given, projected);
    if (!pyramid.empty() && step != 0) {
        throw feature_error("there is no " + joined(pyramid) + " at time step " + std::to_string(step) +
                                ": the projections are trained at step 0",
                            "leave the time step out, or take raw features: " + joined(raw));
    }
    return given;
}

std::int64_t side(const char* name, std::int64_t given) {
    if (given >= 1 && given <= largest) return given;
    throw argument_error(std::string(name) + " must be a whole number from 1 to " + std::to_string(largest) + ", not " +
                         std::to_string(given));
}

// The shorter side of a resized picture, and the most that the longer one may have.
std::pair<std::int64_t, std::int64_t> sides_of(const MapsRequest& request, const ModelSpec& model) {
    if (request.short_side == 0 && request.max_side == 0) return {model.short_side, model.max_side};
    const std::int64_t shorter = request.short_side == 0 ? model.short_side : side("short_side", request.short_side);
    if (request.max_side == 0) {
        // The model's ratio, rounded as Python rounds: of two whole numbers the even one.
        const double longer = std::nearbyint(static_cast<double>(shorter) * static_cast<double>(model.max_side) /
                                             static_cast<double>(model.short_side));
        const double most = std::max(longer, static_cast<double>(shorter));
        return {shorter, static_cast<std::int64_t>(std::min(most, static_cast<double>(largest)))};
    }
    const std::int64_t longer = side("max_side", request.max_side);
    if (longer < shorter) {
        throw argument_error("max_side " + std::to_string(longer) + " is below short_side " + std::to_string(shorter),
                             "give a larger one");
    }
    return {shorter, longer};
}

// Whether no number is NaN or infinite: none has all bits of its exponent set.
template <typename Bits>
bool is_finite(const Array& array, Bits exponent) {
    bool bad = false;
    const unsigned char* from = array.data();
    for (std::size_t i = 0; i < array.count(); ++i) {
        Bits bits = 0;
        std::memcpy(&bits, from + i * sizeof bits, sizeof bits);
        bad |= (bits & exponent) == exponent;
    }
    return !bad;
}

void check_numbers(const std::string& stage, const std::string& name, const Array& array) {
    const bool half = array.dtype == Dtype::float16;
    if (!half && array.dtype != Dtype::float32) return;
    const bool good = half ? is_finite<std::uint16_t>(array, 0x7C00) : is_finite<std::uint32_t>(array, 0x7F800000);
    if (!good) throw not_finite(stage, name);
}

// Runs a stage on what it takes of `offered`. Throws BackendError.
Arrays run_stage(const StageSpec& spec, Engine& engine, const Arrays& offered) {
    Arrays inputs, outputs;
    Sizes sizes;
    for (const Tensor& tensor : spec.inputs) {
        const auto array = offered.find(tensor.name);
        if (array == offered.end()) {
            throw backend_error("stage " + spec.name + " takes " + tensor.name + ", which nothing gives");
        }
        if (array->second.dtype != tensor.dtype) {
            throw backend_error("stage " + spec.name + ": input " + tensor.name + " is " +
                                name_of(array->second.dtype) + ", declared " + name_of(tensor.dtype));
        }
        learn_sizes(spec, tensor, array->second.shape, sizes);
        inputs[tensor.name] = array->second;
    }
    check_sizes(spec, sizes);
    for (const Tensor& tensor : spec.outputs) outputs[tensor.name] = Array::empty(tensor.dtype, tensor.resolve(sizes));
    engine.run(sizes, inputs, outputs);
    for (const Tensor& tensor : spec.outputs) check_numbers(spec.name, tensor.name, outputs.at(tensor.name));
    return outputs;
}

}  // namespace

Names Extraction::stages() const {
    Names found;
    if (!only(names, projected).empty()) found.emplace_back(pyramid_stage);
    if (!only(names, raw).empty()) found.emplace_back(raw_stage);
    return found;
}

Extraction extraction_of(const Bundle& bundle, const MapsRequest& request) {
    const Manifest& manifest = bundle.manifest;
    const bool has_raw = std::any_of(manifest.stages.begin(), manifest.stages.end(),
                                     [](const StageEntry& entry) { return entry.spec.name == raw_stage; });
    Extraction wanted{requested(request, has_raw), request.time_step, 0, 0};
    std::tie(wanted.short_side, wanted.max_side) = sides_of(request, manifest.model);
    const Names needed = only(wanted.names, raw);
    if (!needed.empty() && !has_raw) {
        throw bundle_error(bundle.folder + " has no stage " + repr(raw_stage) + ", which gives " + joined(needed),
                           "add it: " + rebuild_command(bundle, {raw_stage}, true, manifest.precision));
    }
    return wanted;
}

std::vector<FeatureMap> extract(const Manifest& manifest, const Extraction& wanted, const Array& picture,
                                const Size& padded, std::int64_t at_once, const EngineOf& engine_of) {
    const Grid grid = Grid::over(padded, manifest.model.window);
    const Names stages = wanted.stages();
    for (const std::string& stage : stages) engine_of(stage);
    const Size size{picture.shape[0], picture.shape[1]};
    // In the order in which they are wanted.
    std::vector<std::pair<std::string, WindowMaps>> maps;
    for (const std::string& name : wanted.names) {
        const std::string stage = has(raw, name) ? raw_stage : pyramid_stage;
        const Tensor* tensor = manifest.stage(stage).spec.output(name);
        if (tensor == nullptr) throw bundle_error("stage " + stage + " does not give " + name, "build the stage again");
        maps.emplace_back(stage, WindowMaps(stage, *tensor, grid, size));
    }
    const Array step = Array::of(Dtype::int64, {1}, std::vector<std::int64_t>{wanted.time_step});
    const std::size_t windows = grid.corners.size(), most = static_cast<std::size_t>(at_once);
    for (std::size_t start = 0; start < windows; start += most) {
        Arrays offered = {{"windows", cut_windows(picture, grid, start, std::min(start + most, windows))},
                          {"time_step", step}};
        for (auto& [name, array] : run_stage(manifest.stage(captioner).spec, engine_of(captioner), offered)) {
            offered[name] = array;
        }
        for (const std::string& stage : stages) {
            const Arrays made = run_stage(manifest.stage(stage).spec, engine_of(stage), offered);
            for (auto& [giver, map] : maps) {
                if (giver == stage) map.add(made.at(map.name()));
            }
        }
    }
    std::vector<FeatureMap> found;
    for (auto& [_, map] : maps) found.push_back(map.result());
    return found;
}

}  // namespace odise

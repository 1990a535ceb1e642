// Feature maps of a picture, for other work. See odise_trt/extraction.py and odise_trt/features/names.py.
#pragma once

#include <functional>

#include "window_maps.hpp"

namespace odise {

constexpr const char* raw_stage = "raw_features";

// What a caller wants.
struct MapsRequest {
    bool all = true;                 // that there are at this step
    std::vector<std::string> names;  // otherwise
    std::int64_t time_step = 0;
    std::int64_t short_side = 0, max_side = 0;  // 0: as in Python, if none is given
};

// The same for one bundle, with all that was left open.
struct Extraction {
    std::vector<std::string> names;  // each once
    std::int64_t time_step, short_side, max_side;

    // The stages that give the maps, in the order they run.
    std::vector<std::string> stages() const;
};

struct Features {
    std::vector<FeatureMap> maps;
    Size size;  // of the resized picture
};

// Throws FeatureError: a map or the step does not exist. ArgumentError: a side is out of range. BundleError: the bundle
// lacks the stage of a map, and the hint is the command that adds it.
Extraction extraction_of(const Bundle& bundle, const MapsRequest& request);

// Loads an engine on first use.
using EngineOf = std::function<Engine&(const std::string& stage)>;

// Runs the windows of a picture, at most `at_once` in each run. Memory is that of one run and of the maps.
// `picture`: uint8 (height, width, 3), resized. `padded`: its size with padding. Throws BackendError, BundleError.
std::vector<FeatureMap> extract(const Manifest& manifest, const Extraction& wanted, const Array& picture,
                                const Size& padded, std::int64_t at_once, const EngineOf& engine_of);

}  // namespace odise

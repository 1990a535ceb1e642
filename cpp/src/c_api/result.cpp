#include "guard.hpp"

namespace {

using odise::argument_error;
using odise::guarded;
using odise::require;

void give_region(const odise::Result& result, const std::vector<odise::Region>& regions, std::size_t index,
                 odise_region* wanted) {
    if (index >= regions.size()) {
        throw argument_error("there is no region " + std::to_string(index) + " of " + std::to_string(regions.size()));
    }
    const odise::Region& region = regions[index];
    const auto& category = result.table->categories.at(static_cast<std::size_t>(region.category_id));
    odise_region made{};
    made.id = static_cast<std::int32_t>(index + 1);
    made.category_id = region.category_id;
    made.name = category.names[0].c_str();
    made.isthing = category.isthing ? 1 : 0;
    made.score = region.score;
    made.area = region.area;
    made.x = region.x, made.y = region.y, made.width = region.width, made.height = region.height;
    odise::give(made, wanted, "odise_region");
}

const std::int32_t* map_of(const odise_result* result, const odise::Array odise::Result::* map) {
    if (result == nullptr || !((*result->made).*map).memory) return nullptr;
    return ((*result->made).*map).as<std::int32_t>();
}

const std::int32_t* pointer_to(const std::shared_ptr<odise::DeviceMemory>& memory) {
    return memory ? reinterpret_cast<const std::int32_t*>(static_cast<std::uintptr_t>(memory->address())) : nullptr;
}

}  // namespace

extern "C" {

void odise_result_free(odise_result* result) { delete result; }

int32_t odise_result_width(const odise_result* result) {
    return result == nullptr ? 0 : static_cast<int32_t>(result->made->size.width);
}

int32_t odise_result_height(const odise_result* result) {
    return result == nullptr ? 0 : static_cast<int32_t>(result->made->size.height);
}

const int32_t* odise_result_panoptic(const odise_result* result) { return map_of(result, &odise::Result::panoptic); }
const int32_t* odise_result_semantic(const odise_result* result) { return map_of(result, &odise::Result::semantic); }

const int32_t* odise_result_panoptic_on_gpu(const odise_result* result) {
    return result == nullptr ? nullptr : pointer_to(result->made->panoptic_on_gpu);
}
const int32_t* odise_result_semantic_on_gpu(const odise_result* result) {
    return result == nullptr ? nullptr : pointer_to(result->made->semantic_on_gpu);
}
const char* odise_result_note(const odise_result* result) {
    return result == nullptr ? "" : result->made->note.c_str();
}

size_t odise_result_segments(const odise_result* result) {
    return result == nullptr ? 0 : result->made->segments.size();
}

odise_status odise_result_segment(const odise_result* result, size_t index, odise_region* region) {
    return guarded([&] {
        require(result, "result");
        give_region(*result->made, result->made->segments, index, region);
    });
}

size_t odise_result_instances(const odise_result* result) {
    return result == nullptr ? 0 : result->made->instances.size();
}

odise_status odise_result_instance(const odise_result* result, size_t index, odise_region* region) {
    return guarded([&] {
        require(result, "result");
        give_region(*result->made, result->made->instances, index, region);
    });
}

const uint8_t* odise_result_instance_mask(const odise_result* result, size_t index) {
    if (result == nullptr || index >= result->made->instances.size()) return nullptr;
    return result->made->instances[index].mask->data();
}

size_t odise_result_categories(const odise_result* result) {
    return result == nullptr ? 0 : result->made->table->categories.size();
}

odise_status odise_result_category(const odise_result* result, size_t index, odise_category* category) {
    return guarded([&] {
        require(result, "result");
        const auto& categories = result->made->table->categories;
        if (index >= categories.size()) {
            throw argument_error("there is no category " + std::to_string(index) + " of " +
                                 std::to_string(categories.size()));
        }
        odise_category made{};
        made.name = categories[index].names[0].c_str();
        made.isthing = categories[index].isthing ? 1 : 0;
        odise::give(made, category, "odise_category");
    });
}

size_t odise_features_maps(const odise_features* features) {
    return features == nullptr ? 0 : features->made.maps.size();
}

int32_t odise_features_width(const odise_features* features) {
    return features == nullptr ? 0 : static_cast<int32_t>(features->made.size.width);
}

int32_t odise_features_height(const odise_features* features) {
    return features == nullptr ? 0 : static_cast<int32_t>(features->made.size.height);
}

odise_status odise_features_map(const odise_features* features, size_t index, odise_map* map) {
    return guarded([&] {
        require(features, "features");
        const auto& maps = features->made.maps;
        if (index >= maps.size()) throw argument_error("there is no map " + std::to_string(index));
        const odise::FeatureMap& one = maps[index];
        odise_map made{};
        made.name = one.name.c_str();
        made.data = one.values.data();
        made.channels = static_cast<int32_t>(one.channels);
        made.height = static_cast<int32_t>(one.height);
        made.width = static_cast<int32_t>(one.width);
        made.stride = static_cast<int32_t>(one.stride);
        odise::give(made, map, "odise_map");
    });
}

void odise_features_free(odise_features* features) { delete features; }

size_t odise_result_timings(const odise_result* result) { return result == nullptr ? 0 : result->made->timings.size(); }

odise_status odise_result_timing(const odise_result* result, size_t index, const char** name, double* seconds) {
    return guarded([&] {
        require(result, "result");
        const auto& timings = result->made->timings;
        if (index >= timings.size()) throw argument_error("there is no timing " + std::to_string(index));
        if (name != nullptr) *name = timings[index].first.c_str();
        if (seconds != nullptr) *seconds = timings[index].second;
    });
}

}  // extern "C"

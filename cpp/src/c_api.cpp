// The C interface. Every function that can fail runs inside `guarded`, so no exception leaves the library.
#include <algorithm>
#include <cstring>
#include <new>

#include "error.hpp"
#include "python_text.hpp"
#include "segmenter.hpp"

struct odise_segmenter {
    std::unique_ptr<odise::Segmenter> made;
};

struct odise_features {
    std::vector<odise::FeatureMap> maps;
};

struct odise_result {
    std::unique_ptr<odise::Result> made;
};

namespace {

using odise::argument_error;

struct LastError {
    std::string whole, message, hint;
};

LastError& last_error() {
    thread_local LastError error;
    return error;
}

odise_status failed(odise_status status, const char* message, const std::string& hint) noexcept {
    try {
        last_error() = {hint.empty() ? message : std::string(message) + "\n  " + hint, message, hint};
    } catch (...) {
        // Not even a message fits into memory.
        last_error().whole.clear(), last_error().message.clear(), last_error().hint.clear();
    }
    return status;
}

template <typename Work>
odise_status guarded(Work work) noexcept {
    try {
        work();
        return ODISE_OK;
    } catch (const odise::Error& error) {
        return failed(error.status, error.what(), error.hint);
    } catch (const std::bad_alloc&) {
        return failed(ODISE_MEMORY_ERROR, "there is not enough memory", "close other programs, or do less at once");
    } catch (const std::exception& error) {
        return failed(ODISE_INTERNAL_ERROR, error.what(), "this is a fault of odise-trt, please report it");
    } catch (...) {
        return failed(ODISE_INTERNAL_ERROR, "an unknown error", "this is a fault of odise-trt, please report it");
    }
}

// Copies what a caller's structure has of ours, whichever is older. `made` keeps its defaults for the rest.
template <typename Structure>
void take(const Structure* given, Structure& made, const char* name) {
    if (given == nullptr) return;
    if (given->size < sizeof given->size || given->size > 4096) {
        throw argument_error(std::string(name) + ".size is " + std::to_string(given->size),
                             std::string("set it: ") + name + " x = {sizeof x}");
    }
    std::memcpy(&made, given, std::min(given->size, sizeof made));
}

template <typename Structure>
void give(const Structure& made, Structure* wanted, const char* name) {
    if (wanted == nullptr) throw argument_error(std::string("the ") + name + " to fill is NULL");
    const std::size_t size = wanted->size;
    if (size < sizeof size || size > 4096) {
        throw argument_error(std::string(name) + ".size is " + std::to_string(size),
                             std::string("set it: ") + name + " x = {sizeof x}");
    }
    std::memcpy(wanted, &made, std::min(size, sizeof made));
    wanted->size = size;
}

void require(const void* pointer, const char* name) {
    if (pointer == nullptr) throw argument_error(std::string("the ") + name + " is NULL");
}

std::vector<std::string> tasks_of(std::uint32_t tasks) {
    constexpr std::uint32_t known = ODISE_PANOPTIC | ODISE_SEMANTIC | ODISE_INSTANCE;
    if (tasks == 0 || (tasks & ~known) != 0) {
        throw argument_error("there is no task " + std::to_string(tasks),
                             "tasks: ODISE_PANOPTIC, ODISE_SEMANTIC, ODISE_INSTANCE, or a sum of them");
    }
    std::vector<std::string> names;
    if ((tasks & ODISE_PANOPTIC) != 0) names.emplace_back("panoptic");
    if ((tasks & ODISE_SEMANTIC) != 0) names.emplace_back("semantic");
    if ((tasks & ODISE_INSTANCE) != 0) names.emplace_back("instance");
    return names;
}

odise::Pixels pixels_of(const odise_image* image) {
    require(image, "image");
    odise_image picture{};
    take(image, picture, "odise_image");
    if (picture.format != ODISE_RGB && picture.format != ODISE_BGR) {
        throw argument_error("there is no format " + std::to_string(picture.format), "formats: ODISE_RGB, ODISE_BGR");
    }
    return {picture.data,
            {picture.height, picture.width},
            picture.stride != 0 ? picture.stride : std::int64_t{3} * picture.width,
            picture.format == ODISE_BGR};
}

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
    give(made, wanted, "odise_region");
}

const std::int32_t* map_of(const odise_result* result, const odise::Array odise::Result::* map) {
    if (result == nullptr || !((*result->made).*map).memory) return nullptr;
    return ((*result->made).*map).as<std::int32_t>();
}

}  // namespace

extern "C" {

uint32_t odise_abi_version(void) { return ODISE_ABI_VERSION; }

const char* odise_version(void) { return ODISE_TRT_VERSION; }

const char* odise_engines(void) {
    static const std::string names = odise::joined(odise::engine_names());
    return names.c_str();
}

const char* odise_status_name(odise_status status) {
    switch (status) {
        case ODISE_OK: return "OK";
        case ODISE_ARGUMENT_ERROR: return "ArgumentError";
        case ODISE_IMAGE_ERROR: return "ImageError";
        case ODISE_VOCABULARY_ERROR: return "VocabularyError";
        case ODISE_BUNDLE_ERROR: return "BundleError";
        case ODISE_BACKEND_ERROR: return "BackendError";
        case ODISE_MEMORY_ERROR: return "MemoryError";
        case ODISE_INTERNAL_ERROR: return "OdiseError";
    }
    return "unknown";
}

const char* odise_last_error(void) { return last_error().whole.c_str(); }
const char* odise_last_message(void) { return last_error().message.c_str(); }
const char* odise_last_hint(void) { return last_error().hint.c_str(); }

odise_status odise_open(const char* folder, const odise_options* options, odise_segmenter** segmenter) {
    if (segmenter != nullptr) *segmenter = nullptr;
    return guarded([&] {
        require(folder, "folder");
        require(segmenter, "place for the segmenter");
        odise_options given{};
        take(options, given, "odise_options");
        odise::OpenOptions wanted;
        if (given.engine != nullptr) wanted.engine = given.engine;
        wanted.threads = given.threads;
        wanted.hashes = given.verify_sizes_only == 0;
        wanted.max_windows = given.max_windows;
        auto made = std::make_unique<odise_segmenter>();
        made->made = odise::Segmenter::open(folder, wanted);
        *segmenter = made.release();
    });
}

void odise_close(odise_segmenter* segmenter) { delete segmenter; }

odise_status odise_set_table(odise_segmenter* segmenter, const char* path) {
    return guarded([&] {
        require(segmenter, "segmenter");
        require(path, "path");
        segmenter->made->set_table(path);
    });
}

odise_status odise_set_words(odise_segmenter* segmenter, const odise_words* categories, size_t count) {
    return guarded([&] {
        require(segmenter, "segmenter");
        if (count > 0) require(categories, "array of categories");
        std::vector<odise::Category> words;
        for (size_t i = 0; i < count; ++i) {
            odise::Category category;
            category.isthing = categories[i].isthing != 0;
            if (categories[i].count > 0) require(categories[i].names, "array of names");
            for (size_t j = 0; j < categories[i].count; ++j) {
                require(categories[i].names[j], "name of a category");
                category.names.emplace_back(categories[i].names[j]);
            }
            words.push_back(std::move(category));
        }
        segmenter->made->set_words(words);
    });
}

odise_status odise_segment(odise_segmenter* segmenter, const odise_image* image, uint32_t tasks,
                           const odise_request* request, odise_result** result) {
    if (result != nullptr) *result = nullptr;
    return guarded([&] {
        require(segmenter, "segmenter");
        require(result, "place for the result");
        const odise::Pixels pixels = pixels_of(image);
        odise_request thresholds{};
        thresholds.overlap_threshold = thresholds.object_mask_threshold = -1;
        take(request, thresholds, "odise_request");
        odise::Job job;
        job.tasks = tasks_of(tasks);
        if (request != nullptr && (tasks & ODISE_PANOPTIC) == 0 &&
            !(thresholds.overlap_threshold < 0 && thresholds.object_mask_threshold < 0)) {
            throw argument_error("the thresholds are for the task panoptic, not for " + odise::joined(job.tasks),
                                 "leave them out");
        }
        job.overlap_threshold = thresholds.overlap_threshold;
        job.object_mask_threshold = thresholds.object_mask_threshold;
        auto made = std::make_unique<odise_result>();
        made->made = segmenter->made->segment(pixels, job);
        *result = made.release();
    });
}

void odise_result_free(odise_result* result) { delete result; }

int32_t odise_result_width(const odise_result* result) {
    return result == nullptr ? 0 : static_cast<int32_t>(result->made->size.width);
}

int32_t odise_result_height(const odise_result* result) {
    return result == nullptr ? 0 : static_cast<int32_t>(result->made->size.height);
}

const int32_t* odise_result_panoptic(const odise_result* result) { return map_of(result, &odise::Result::panoptic); }
const int32_t* odise_result_semantic(const odise_result* result) { return map_of(result, &odise::Result::semantic); }

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
        give(made, category, "odise_category");
    });
}

odise_status odise_extract(odise_segmenter* segmenter, const odise_image* image, odise_features** features) {
    if (features != nullptr) *features = nullptr;
    return guarded([&] {
        require(segmenter, "segmenter");
        require(features, "place for the features");
        auto made = std::make_unique<odise_features>();
        made->maps = segmenter->made->features(pixels_of(image));
        *features = made.release();
    });
}

size_t odise_features_maps(const odise_features* features) { return features == nullptr ? 0 : features->maps.size(); }

odise_status odise_features_map(const odise_features* features, size_t index, odise_map* map) {
    return guarded([&] {
        require(features, "features");
        if (index >= features->maps.size()) throw argument_error("there is no map " + std::to_string(index));
        const odise::FeatureMap& one = features->maps[index];
        odise_map made{};
        made.name = one.name.c_str();
        made.data = one.values.data();
        made.channels = static_cast<int32_t>(one.channels);
        made.height = static_cast<int32_t>(one.height);
        made.width = static_cast<int32_t>(one.width);
        made.stride = static_cast<int32_t>(one.stride);
        give(made, map, "odise_map");
    });
}

void odise_features_free(odise_features* features) { delete features; }

size_t odise_result_timings(const odise_result* result) {
    return result == nullptr ? 0 : result->made->timings.size();
}

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

#include "guard.hpp"
#include "text/python_text.hpp"

namespace {

using odise::argument_error;
using odise::guarded;
using odise::require;
using odise::take;

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

void check_place(std::int32_t place) {
    if (place == ODISE_HOST || place == ODISE_GPU) return;
    throw argument_error("there is no memory " + std::to_string(place), "memories: ODISE_HOST, ODISE_GPU");
}

odise::Pixels pixels_of(const odise_image* image) {
    require(image, "image");
    odise_image picture{};
    take(image, picture, "odise_image");
    if (picture.format != ODISE_RGB && picture.format != ODISE_BGR) {
        throw argument_error("there is no format " + std::to_string(picture.format), "formats: ODISE_RGB, ODISE_BGR");
    }
    check_place(picture.memory);
    return {picture.data,
            {picture.height, picture.width},
            picture.stride != 0 ? picture.stride : std::int64_t{3} * picture.width,
            picture.format == ODISE_BGR,
            picture.memory == ODISE_GPU,
            reinterpret_cast<std::uintptr_t>(picture.stream)};
}

}  // namespace

extern "C" {

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
        wanted.graphs_only = given.graphs_only != 0;
        wanted.gpu = given.gpu;
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
        check_place(thresholds.ids);
        job.ids_on_gpu = thresholds.ids == ODISE_GPU;
        job.overlap_threshold = thresholds.overlap_threshold;
        job.object_mask_threshold = thresholds.object_mask_threshold;
        auto made = std::make_unique<odise_result>();
        made->made = segmenter->made->segment(pixels, job);
        *result = made.release();
    });
}

odise_status odise_extract(odise_segmenter* segmenter, const odise_image* image, odise_features** features) {
    if (features != nullptr) *features = nullptr;
    return guarded([&] {
        require(segmenter, "segmenter");
        require(features, "place for the features");
        auto made = std::make_unique<odise_features>();
        made->made = segmenter->made->features(pixels_of(image));
        *features = made.release();
    });
}

odise_status odise_extract_maps(odise_segmenter* segmenter, const odise_image* image, const odise_maps_request* request,
                                odise_features** features) {
    if (features != nullptr) *features = nullptr;
    return guarded([&] {
        require(segmenter, "segmenter");
        require(features, "place for the features");
        const odise::Pixels pixels = pixels_of(image);
        odise_maps_request given{};
        take(request, given, "odise_maps_request");
        odise::MapsRequest wanted;
        wanted.all = given.names == nullptr;
        if (wanted.all && given.count > 0) throw argument_error("the array of names is NULL", "give 0 as its count");
        for (size_t i = 0; i < given.count; ++i) {
            require(given.names[i], "name of a map");
            wanted.names.emplace_back(given.names[i]);
        }
        wanted.time_step = given.time_step;
        wanted.short_side = given.short_side;
        wanted.max_side = given.max_side;
        auto made = std::make_unique<odise_features>();
        made->made = segmenter->made->features(pixels, wanted);
        *features = made.release();
    });
}

}  // extern "C"

// odise_trt.hpp - the C interface of libodise_trt with exceptions, containers and destructors. It is only a header,
// so it needs the same compiler as the program, and nothing of the compiler that built the library.
//
//     odise::Segmenter segmenter("engines/demo-openvino-fp32");
//     segmenter.set_table("tools.npz");
//     odise::Result result = segmenter(odise::Image(pixels, width, height));
//     for (const odise::Region& segment : result.segments()) ...
#ifndef ODISE_TRT_HPP
#define ODISE_TRT_HPP

#include <odise_trt.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace odise {

// An error of the library: what() is what is wrong, and on a line of its own what to do.
class Exception : public std::runtime_error {
  public:
    explicit Exception(odise_status status)
        : std::runtime_error(odise_last_error()),
          status_(status),
          message_(odise_last_message()),
          hint_(odise_last_hint()) {}

    odise_status status() const noexcept { return status_; }
    // "BundleError"
    const char* name() const noexcept { return odise_status_name(status_); }
    const std::string& message() const noexcept { return message_; }
    // Empty: there is none.
    const std::string& hint() const noexcept { return hint_; }

  private:
    odise_status status_;
    std::string message_, hint_;
};

inline void check(odise_status status) {
    if (status != ODISE_OK) throw Exception(status);
}

// How a bundle is opened, see odise_options.
struct Options {
    std::string engine;
    int threads = 0;
    bool verify_sizes_only = false;
    int max_windows = 0;
    bool graphs_only = false;
    int gpu = 0;
};

// A picture of the caller. Pixels are neither copied nor freed.
struct Image {
    Image(const std::uint8_t* pixels, int columns, int rows, std::int64_t row_bytes = 0, odise_format order = ODISE_RGB)
        : data(pixels), width(columns), height(rows), stride(row_bytes), format(order) {}

    const std::uint8_t* data;
    int width, height;
    std::int64_t stride;
    odise_format format;
    odise_memory memory = ODISE_HOST;  // ODISE_GPU: see odise_image
    void* stream = nullptr;
};

// Negative: the model's own threshold.
struct Thresholds {
    double overlap = -1, object_mask = -1;
    odise_memory ids = ODISE_HOST;  // ODISE_GPU: see odise_request
};

// A segment, or an object.
struct Region {
    int id, category_id;
    std::string name;
    bool isthing;
    float score;
    std::int64_t area;
    int x, y, width, height;
};

struct Category {
    std::string name;
    bool isthing;
};

// A category to look for: the name to show, then synonyms.
struct Words {
    std::vector<std::string> names;
    bool isthing = true;
};

// What was found in a picture. Copies share it.
class Result {
  public:
    explicit Result(odise_result* made) : made_(made, odise_result_free) {}

    int width() const { return odise_result_width(made_.get()); }
    int height() const { return odise_result_height(made_.get()); }
    // (height, width) of ids, 0: no segment. nullptr: the task was not asked for.
    const std::int32_t* panoptic() const { return odise_result_panoptic(made_.get()); }
    // (height, width) of categories. nullptr: the task was not asked for.
    const std::int32_t* semantic() const { return odise_result_semantic(made_.get()); }
    // The same in the memory of the GPU, if ids were wanted there; else nullptr.
    const std::int32_t* panoptic_on_gpu() const { return odise_result_panoptic_on_gpu(made_.get()); }
    const std::int32_t* semantic_on_gpu() const { return odise_result_semantic_on_gpu(made_.get()); }
    // What was done otherwise than usual. Empty: nothing.
    std::string note() const { return odise_result_note(made_.get()); }
    // (height, width), 1 inside of an object. nullptr: there is no such object.
    const std::uint8_t* instance_mask(std::size_t index) const {
        return odise_result_instance_mask(made_.get(), index);
    }
    std::vector<Region> segments() const { return regions(odise_result_segments(made_.get()), odise_result_segment); }
    std::vector<Region> instances() const {
        return regions(odise_result_instances(made_.get()), odise_result_instance);
    }

    std::vector<Category> categories() const {
        std::vector<Category> found(odise_result_categories(made_.get()));
        for (std::size_t i = 0; i < found.size(); ++i) {
            odise_category category = {};
            category.size = sizeof category;
            check(odise_result_category(made_.get(), i, &category));
            found[i] = {category.name, category.isthing != 0};
        }
        return found;
    }

    // Wall seconds of each part.
    std::vector<std::pair<std::string, double>> timings() const {
        std::vector<std::pair<std::string, double>> found(odise_result_timings(made_.get()));
        for (std::size_t i = 0; i < found.size(); ++i) {
            const char* name = nullptr;
            check(odise_result_timing(made_.get(), i, &name, &found[i].second));
            found[i].first = name;
        }
        return found;
    }

  private:
    std::shared_ptr<odise_result> made_;

    template <typename Read>
    std::vector<Region> regions(std::size_t count, Read read) const {
        std::vector<Region> found;
        for (std::size_t i = 0; i < count; ++i) {
            odise_region one = {};
            one.size = sizeof one;
            check(read(made_.get(), i, &one));
            found.push_back({one.id, one.category_id, one.name, one.isthing != 0, one.score, one.area, one.x, one.y,
                             one.width, one.height});
        }
        return found;
    }
};

// Which feature maps are wanted, see odise_maps_request.
struct MapsRequest {
    std::vector<std::string> names;  // Empty: all that the bundle has at this time step.
    int time_step = 0;
    int short_side = 0, max_side = 0;  // 0: those of the model
};

// Feature maps of a picture. Copies share them.
class Features {
  public:
    explicit Features(odise_features* made) : made_(made, odise_features_free) {}

    // Size of the resized picture, which the strides of maps count in pixels.
    int width() const { return odise_features_width(made_.get()); }
    int height() const { return odise_features_height(made_.get()); }
    // Names and numbers belong to the features.
    std::vector<odise_map> maps() const {
        std::vector<odise_map> found(odise_features_maps(made_.get()));
        for (std::size_t i = 0; i < found.size(); ++i) {
            found[i].size = sizeof found[i];
            check(odise_features_map(made_.get(), i, &found[i]));
        }
        return found;
    }

  private:
    std::shared_ptr<odise_features> made_;
};

// A bundle with its engines loaded. It can be moved. Threads: see odise_trt.h.
class Segmenter {
  public:
    explicit Segmenter(const std::string& folder, const Options& options = {}) {
        odise_options given = {};
        given.size = sizeof given;
        given.engine = options.engine.empty() ? nullptr : options.engine.c_str();
        given.threads = options.threads;
        given.verify_sizes_only = options.verify_sizes_only ? 1 : 0;
        given.max_windows = options.max_windows;
        given.graphs_only = options.graphs_only ? 1 : 0;
        given.gpu = options.gpu;
        odise_segmenter* opened = nullptr;
        check(odise_open(folder.c_str(), &given, &opened));
        made_.reset(opened);
    }

    void set_table(const std::string& path) { check(odise_set_table(made_.get(), path.c_str())); }

    void set_words(const std::vector<Words>& categories) {
        std::vector<std::vector<const char*>> names;
        std::vector<odise_words> given;
        for (const Words& category : categories) {
            names.emplace_back();
            for (const std::string& name : category.names) names.back().push_back(name.c_str());
            given.push_back({names.back().data(), names.back().size(), category.isthing ? 1 : 0});
        }
        check(odise_set_words(made_.get(), given.data(), given.size()));
    }

    Result operator()(const Image& image, std::uint32_t tasks = ODISE_PANOPTIC) {
        return segment(image, tasks, nullptr);
    }

    Result operator()(const Image& image, std::uint32_t tasks, const Thresholds& thresholds) {
        odise_request request = {};
        request.size = sizeof request;
        request.overlap_threshold = thresholds.overlap;
        request.object_mask_threshold = thresholds.object_mask;
        request.ids = thresholds.ids;
        return segment(image, tasks, &request);
    }

    // The maps that the mask head takes, s2 to s5. No vocabulary is needed.
    Features features(const Image& image) {
        const odise_image given = image_of(image);
        odise_features* features = nullptr;
        check(odise_extract(made_.get(), &given, &features));
        return Features(features);
    }

    // Those that are named, raw ones as well. See odise_extract_maps.
    Features features(const Image& image, const MapsRequest& request) {
        const odise_image given = image_of(image);
        std::vector<const char*> names;
        for (const std::string& name : request.names) names.push_back(name.c_str());
        odise_maps_request wanted = {};
        wanted.size = sizeof wanted;
        wanted.names = names.empty() ? nullptr : names.data();
        wanted.count = names.size();
        wanted.time_step = request.time_step;
        wanted.short_side = request.short_side;
        wanted.max_side = request.max_side;
        odise_features* features = nullptr;
        check(odise_extract_maps(made_.get(), &given, &wanted, &features));
        return Features(features);
    }

  private:
    struct Close {
        void operator()(odise_segmenter* segmenter) const { odise_close(segmenter); }
    };
    std::unique_ptr<odise_segmenter, Close> made_;

    static odise_image image_of(const Image& image) {
        odise_image given = {};
        given.size = sizeof given;
        given.data = image.data;
        given.width = image.width, given.height = image.height;
        given.stride = image.stride;
        given.format = image.format;
        given.memory = image.memory;
        given.stream = image.stream;
        return given;
    }

    Result segment(const Image& image, std::uint32_t tasks, const odise_request* request) {
        const odise_image given = image_of(image);
        odise_result* result = nullptr;
        check(odise_segment(made_.get(), &given, tasks, request, &result));
        return Result(result);
    }
};

}  // namespace odise

#endif

#include "segmenter.hpp"

#include <algorithm>
#include <chrono>

#include "error.hpp"
#include "text/python_text.hpp"

namespace odise {

namespace {

constexpr std::size_t most_sizes = 8;
// Sides of an output, as the stages declare them, and pixels of a picture, as in Python.
constexpr std::int64_t most_side = 32768;
constexpr std::int64_t most_pixels = 178'956'970;
// Pixels of windows that a run on a CPU takes at once. More take memory and no less time: benchmarks/NOTES.md.
constexpr std::int64_t pixels_at_once = 512 * 512;

std::int64_t windows_per_run(const Manifest& manifest, int asked, bool on_gpu) {
    std::int64_t most = manifest.stage("captioner").spec.axis("windows").range.most;
    most = std::min(most, manifest.stage("features").spec.axis("windows").range.most);
    for (const StageEntry& entry : manifest.stages) {
        if (entry.spec.name == raw_stage) most = std::min(most, entry.spec.axis("windows").range.most);
    }
    if (on_gpu && asked == 0) return most;
    const std::int64_t usual =
        std::max<std::int64_t>(1, pixels_at_once / (manifest.model.window * manifest.model.window));
    return std::min(asked > 0 ? asked : usual, most);
}

double share(const char* name, double asked, double usual) {
    if (asked < 0) return usual;
    if (!(asked <= 1)) throw argument_error(std::string(name) + " must be from 0 to 1, not " + repr(asked));
    return asked;
}

void check_pixels(const Pixels& pixels) {
    const Size& size = pixels.size;
    const std::string is =
        "the image has " + std::to_string(size.width) + " x " + std::to_string(size.height) + " pixels";
    if (size.width < 1 || size.height < 1) throw image_error(is, "give a picture with at least one");
    if (size.width > most_side || size.height > most_side || size.width * size.height > most_pixels) {
        throw image_error(is + ", at most " + std::to_string(most_pixels) + " are segmented, and " +
                              std::to_string(most_side) + " along a side",
                          "shrink it first");
    }
    if (pixels.data == nullptr) throw argument_error("the image has no data");
    if (std::abs(pixels.stride) < 3 * size.width) {
        throw argument_error("the stride is " + std::to_string(pixels.stride) + ", a row has " +
                                 std::to_string(3 * size.width) + " bytes",
                             "give 0 for rows without a gap");
    }
}

}  // namespace

std::unique_ptr<Segmenter> Segmenter::open(const std::string& folder, const OpenOptions& options) {
    if (options.threads < 0) throw argument_error("threads must be at least 1, not " + std::to_string(options.threads));
    if (options.max_windows < 0) {
        throw argument_error("max_windows must be at least 1, not " + std::to_string(options.max_windows));
    }
    std::unique_ptr<Segmenter> made(new Segmenter(Bundle::open(folder, options.hashes)));
    const Bundle& bundle = made->bundle_;
    const BackendInfo& built = bundle.manifest.backend;
    const std::string engine = options.engine.empty() ? built.name : options.engine;
    const bool runs_onnx = engine == "openvino" || engine == "onnxruntime_cuda";
    if (engine != built.name && !(runs_onnx && built.name == "onnxruntime")) {
        throw bundle_error(bundle.folder + " cannot run here: it was built for " + built.name + ", not for " + engine,
                           "build it for " + engine + ", or leave the engine out");
    }
    if (options.gpu < 0) throw argument_error("gpu must be at least 0, not " + std::to_string(options.gpu));
    const int threads = options.threads > 0 ? options.threads : available_threads();
    made->backend_ = open_backend(engine, {bundle.manifest.precision, threads, options.gpu});
    if (const std::string mismatch = made->backend_->mismatch(built); !mismatch.empty()) {
        throw bundle_error(bundle.folder + " cannot run here: " + mismatch, bundle.rebuild_hint());
    }
    DeviceBackend* device = made->backend_->on_device();
    const std::int64_t windows = windows_per_run(bundle.manifest, options.max_windows, device != nullptr);
    made->windows_at_once_ = windows;
    if (device != nullptr) {
        made->device_chain_ = std::make_unique<DeviceChain>(bundle, *device, windows);
    } else {
        made->chain_ = std::make_unique<Chain>(bundle, *made->backend_, windows, options.graphs_only);
    }
    return made;
}

void Segmenter::set_table(const std::string& path) { set(Table::read(path, bundle_)); }

void Segmenter::set_words(const std::vector<Category>& words) {
    std::unique_lock lock(mutex_, std::defer_lock);
    // On a GPU the text encoder shares stream and memory with pictures.
    if (device_chain_) lock.lock();
    Table made = Table::encode(words, bundle_, *backend_);
    if (device_chain_) lock.unlock();
    set(std::move(made));
}

void Segmenter::set(Table made) {
    auto table = std::make_shared<const Table>(std::move(made));
    const ModelSpec& model = bundle_.manifest.model;
    Arrays vocabulary = vocabulary_tensors(*table, model.alpha, model.beta);
    const std::lock_guard lock(mutex_);
    table_ = std::move(table);
    vocabulary_ = std::move(vocabulary);
}

std::unique_ptr<Result> Segmenter::segment(const Pixels& pixels, const Job& job) {
    check_pixels(pixels);
    const ModelSpec& model = bundle_.manifest.model;
    Job wanted = job;
    wanted.overlap_threshold = share("overlap_threshold", job.overlap_threshold, model.overlap_threshold);
    wanted.object_mask_threshold =
        share("object_mask_threshold", job.object_mask_threshold, model.object_mask_threshold);
    auto result = std::make_unique<Result>();
    result->size = pixels.size;

    const auto start = std::chrono::steady_clock::now();
    const PictureSize size = sizes_of(pixels);
    check_places(pixels, job.ids_on_gpu, size.picture);
    const Array picture = pixels.on_gpu ? Array() : resized(pixels, size.picture);

    const std::lock_guard lock(mutex_);
    if (!table_) {
        throw vocabulary_error("no vocabulary is set", "say what to look for: odise_set_words, or odise_set_table");
    }
    result->table = table_;
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    result->timings.emplace_back("preprocess", seconds.count());
    const Arrays made = run(pixels, picture, size, wanted, result_reads(), *result);
    check_finite(made);
    read_result(made, *result);
    return result;
}

Features Segmenter::features(const Pixels& pixels) {
    check_pixels(pixels);
    const PictureSize size = sizes_of(pixels);
    check_places(pixels, false, size.picture);
    const Array picture = pixels.on_gpu ? Array() : resized(pixels, size.picture);
    const StageSpec& stitch = bundle_.manifest.stage("stitch").spec;
    std::vector<std::string> reads = {"stitch.maps_not_finite"};
    for (const Tensor& tensor : stitch.outputs) {
        if (tensor.shape.size() == 4) reads.push_back("stitch." + tensor.name);
    }
    Result result;
    const std::lock_guard lock(mutex_);
    const Arrays made = run(pixels, picture, size, {}, reads, result);
    check_maps(made);
    Features features{{}, size.picture};
    for (const Tensor& tensor : stitch.outputs) {
        if (tensor.shape.size() != 4) continue;
        features.maps.push_back(map_of(tensor, made.at("stitch." + tensor.name), size.picture));
    }
    return features;
}

Features Segmenter::features(const Pixels& pixels, const MapsRequest& request) {
    const Extraction wanted = extraction_of(bundle_, request);
    check_pixels(pixels);
    const Size size = shortest_size(pixels.size, wanted.short_side, wanted.max_side);
    Pixels there = pixels;
    Array copy;
    if (device_chain_ && pixels.on_gpu) {
        const std::lock_guard lock(mutex_);
        copy = device_chain_->to_host(pixels);
        there = {copy.data(), pixels.size, 3 * pixels.size.width, false};
    } else {
        check_places(pixels, false, size);
    }
    const Array picture = resized(there, size);
    const EngineOf engine_of = [&](const std::string& stage) -> Engine& {
        return device_chain_ ? device_chain_->engine(stage) : chain_->engine(stage);
    };
    const std::lock_guard lock(mutex_);
    return {extract(bundle_.manifest, wanted, picture, padded(size), windows_at_once_, engine_of), size};
}

void Segmenter::check_places(const Pixels& pixels, bool ids_on_gpu, const Size& resized) {
    if (device_chain_) {
        if (pixels.on_gpu) device_chain_->check(pixels, resized);
        return;
    }
    if (pixels.on_gpu) {
        throw image_error("the image is on a GPU, and the engines of " + bundle_.folder + " run on the host",
                          "copy it to the host: cudaMemcpy");
    }
    if (ids_on_gpu) {
        throw argument_error(
            "ids on a GPU need engines that pass tensors there; " + bundle_.folder + " makes ids on the host",
            "leave it out: ids are in the memory of the host then");
    }
}

Arrays Segmenter::run(const Pixels& pixels, const Array& picture, const PictureSize& size, const Job& job,
                      const std::vector<std::string>& reads, Result& result) {
    if (!device_chain_) {
        Arrays tensors = host_tensors(size, job);
        tensors["picture.picture"] = picture;
        return chain_->run(job.tasks, std::move(tensors), reads, result.timings);
    }
    DeviceJob wanted{job.tasks, reads, {}, size, pixels.on_gpu ? &pixels : nullptr, picture, {}, result.table};
    if (job.ids_on_gpu) wanted.stay = {panoptic_map, semantic_map};
    wanted.request = request_tensors(job.object_mask_threshold, job.overlap_threshold);
    DeviceMade made = device_chain_->run(wanted, result.timings);
    result.panoptic_on_gpu = made.maps[panoptic_map];
    result.semantic_on_gpu = made.maps[semantic_map];
    result.note = made.note;
    return made.arrays;
}

PictureSize Segmenter::sizes_of(const Pixels& pixels) const {
    const ModelSpec& model = bundle_.manifest.model;
    const Size small = shortest_size(pixels.size, model.short_side, model.max_side);
    return {small, padded(small), pixels.size, model.window, model.clip_image_size};
}

Size Segmenter::padded(const Size& resized) const {
    const std::int64_t divisor = bundle_.manifest.model.divisor;
    const auto rounded_up = [&](std::int64_t side) { return (side + divisor - 1) / divisor * divisor; };
    return {rounded_up(resized.height), rounded_up(resized.width)};
}

Arrays Segmenter::host_tensors(const PictureSize& size, const Job& job) {
    const auto same = [&](const auto& pair) { return pair.first == size; };
    auto known = std::find_if(sizes_.begin(), sizes_.end(), same);
    if (known == sizes_.end()) {
        sizes_.emplace_front(size, picture_tensors(size));
        if (sizes_.size() > most_sizes) sizes_.pop_back();
    } else {
        sizes_.splice(sizes_.begin(), sizes_, known);
    }
    Arrays tensors = request_tensors(job.object_mask_threshold, job.overlap_threshold);
    tensors.insert(vocabulary_.begin(), vocabulary_.end());
    tensors.insert(sizes_.front().second.begin(), sizes_.front().second.end());
    return tensors;
}

}  // namespace odise

// A bundle with its engines loaded. See odise_trt/segmenter.py.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "device/device_chain.hpp"
#include "extraction.hpp"
#include "picture/resize.hpp"
#include "result.hpp"

namespace odise {

struct OpenOptions {
    std::string engine;  // Empty: that of the bundle.
    int threads = 0;     // 0: as many as the process may use.
    bool hashes = true;
    int max_windows = 0;  // 0: as many as are fast.
    bool graphs_only = false;
    int gpu = 0;  // its index, for engines that run on one
};

struct Job {
    std::vector<std::string> tasks;
    double overlap_threshold = -1, object_mask_threshold = -1;  // Negative: that of the model.
    bool ids_on_gpu = false;
};

class Segmenter {
  public:
    static std::unique_ptr<Segmenter> open(const std::string& folder, const OpenOptions& options);

    void set_table(const std::string& path);
    void set_words(const std::vector<Category>& words);
    std::unique_ptr<Result> segment(const Pixels& pixels, const Job& job);
    // The maps that the mask head takes. No vocabulary is needed.
    Features features(const Pixels& pixels);
    // Those and raw ones, at any size and step.
    Features features(const Pixels& pixels, const MapsRequest& request);

  private:
    explicit Segmenter(Bundle bundle) : bundle_(std::move(bundle)) {}

    void set(Table made);
    PictureSize sizes_of(const Pixels& pixels) const;
    // With padding.
    Size padded(const Size& resized) const;
    // Throws ImageError, ArgumentError: a picture or ids on a GPU, and engines that run on the host.
    void check_places(const Pixels& pixels, bool ids_on_gpu, const Size& resized);
    // Runs the steps. `picture`: resized, if the pixels are on the host.
    Arrays run(const Pixels& pixels, const Array& picture, const PictureSize& size, const Job& job,
               const std::vector<std::string>& reads, Result& result);
    Arrays host_tensors(const PictureSize& size, const Job& job);

    std::mutex mutex_;
    Bundle bundle_;
    std::int64_t windows_at_once_ = 1;
    std::unique_ptr<Backend> backend_;
    // One of them, by where the engines run.
    std::unique_ptr<Chain> chain_;
    std::unique_ptr<DeviceChain> device_chain_;
    std::shared_ptr<const Table> table_;
    Arrays vocabulary_;
    // The vectors of the sizes that came last, the latest first.
    std::list<std::pair<PictureSize, Arrays>> sizes_;
};

}  // namespace odise

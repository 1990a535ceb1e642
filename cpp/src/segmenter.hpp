// A bundle with its engines loaded. See odise_trt/segmenter.py.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "resize.hpp"
#include "result.hpp"

namespace odise {

struct OpenOptions {
    std::string engine;  // Empty: that of the bundle.
    int threads = 0;     // 0: as many as the process may use.
    bool hashes = true;
    int max_windows = 0;  // 0: as many as are fast.
    bool graphs_only = false;
};

struct Job {
    std::vector<std::string> tasks;
    double overlap_threshold = -1, object_mask_threshold = -1;  // Negative: that of the model.
};

class Segmenter {
  public:
    static std::unique_ptr<Segmenter> open(const std::string& folder, const OpenOptions& options);

    void set_table(const std::string& path);
    void set_words(const std::vector<Category>& words);
    std::unique_ptr<Result> segment(const Pixels& pixels, const Job& job);
    // The maps that the mask head takes. No vocabulary is needed.
    std::vector<FeatureMap> features(const Pixels& pixels);

  private:
    explicit Segmenter(Bundle bundle) : bundle_(std::move(bundle)) {}

    void set(Table made);
    PictureSize sizes_of(const Pixels& pixels) const;
    Arrays host_tensors(const PictureSize& size, const Job& job);

    std::mutex mutex_;
    Bundle bundle_;
    std::unique_ptr<Backend> backend_;
    std::unique_ptr<Chain> chain_;
    std::shared_ptr<const Table> table_;
    Arrays vocabulary_;
    // The vectors of the sizes that came last, the latest first.
    std::list<std::pair<PictureSize, Arrays>> sizes_;
};

}  // namespace odise

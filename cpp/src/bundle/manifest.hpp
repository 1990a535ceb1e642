// The content of manifest.json. See odise_trt/bundle/manifest.py, which says what each field means.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "spec.hpp"

namespace odise {

struct ModelSpec {
    std::string kind;
    std::int64_t short_side, max_side, divisor, window;
    std::int64_t num_queries, mask_embed_dim, clip_dim, clip_image_size, context_length;
    std::string category_prompt;  // Empty: the bare names.
    std::string clip_prompt;
    std::vector<std::vector<std::string>> train_labels;
    double alpha, beta;
    double object_mask_threshold = 0.0, overlap_threshold = 0.8;
    std::int64_t topk_per_image = 100;
};

struct StageEntry {
    StageSpec spec;
    std::string file;
    std::vector<std::string> files;
    std::string precision;                    // Empty: that of the bundle.
    std::optional<std::string> weights_from;  // The graph with the weights of the engine. None: it has them.
};

struct FileEntry {
    std::string sha256;
    std::uint64_t bytes;
};

struct BackendInfo {
    std::string name, version, gpu, driver, os;
    std::vector<std::string> compute_capability, arithmetic;
    std::vector<std::string> compatible;  // "version", "hardware": where else engines run.

    bool is_compatible(const std::string& with) const {
        return std::find(compatible.begin(), compatible.end(), with) != compatible.end();
    }
};

struct Manifest {
    std::string preset, precision;
    std::string weights_source, weights_sha256;  // Empty: not said.
    bool seeded = false;
    BackendInfo backend;
    ModelSpec model;
    std::vector<StageEntry> stages;
    std::vector<std::pair<std::string, FileEntry>> files;
    std::vector<std::pair<std::string, std::string>> tools;
    std::vector<Step> pipeline;

    // Throws BundleError if the bundle has no such stage.
    const StageEntry& stage(const std::string& name) const;
    const FileEntry* file(const std::string& name) const;

    // Reads folder/manifest.json. Throws BundleError, with the messages of Manifest.read.
    static Manifest read(const std::string& folder);
    // The same for the content of the file.
    static Manifest parse(const std::string& folder, const std::string& content);
};

}  // namespace odise

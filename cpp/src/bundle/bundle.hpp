// A bundle on disk whose files are what its manifest says. See odise_trt/bundle/bundle.py.
#pragma once

#include "manifest.hpp"

namespace odise {

constexpr const char* constants_file = "constants.npz";
constexpr const char* tokenizer_file = "tokenizer.json";
// Option of a build, and entry among the tools of a manifest: engines take their weights from graphs.
constexpr const char* strip_weights = "strip-weights";

struct Bundle {
    std::string folder;
    Manifest manifest;

    // Reads the manifest and checks the files: names, sizes, and if `hashes`, contents. No engine is loaded.
    // Throws BundleError. The message names all damaged files, the hint says how to rebuild them.
    static Bundle open(const std::string& folder, bool hashes);

    std::string path(const std::string& name) const;
    // The command that builds this bundle for the machine it runs on.
    std::string rebuild_hint() const;
    // The command that builds it again, or only the stages that damaged files belong to.
    std::string repair_hint(const std::vector<std::string>& names = {}) const;
    // Whether its engines are still to be built, on the machine that they are for (`--onnx-only`).
    bool has_graphs_only() const;
    // SHA-256 that tells text encoders apart: weights, files, backend, precision.
    std::string encoder_identity() const;
};

// The command line of a build, see odise_trt/bundle/rebuild.py.
std::string rebuild_command(const Bundle& bundle, const std::vector<std::string>& stages, bool same_gpus,
                            const std::string& precision);

}  // namespace odise

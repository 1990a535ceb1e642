#include "bundle.hpp"

#include <algorithm>
#include <atomic>
#include <optional>
#include <set>
#include <system_error>
#include <thread>

#include "error.hpp"
#include "files/files.hpp"
#include "files/sha256.hpp"
#include "text/python_text.hpp"

namespace odise {

namespace {

// What is wrong with a file, if anything.
std::optional<std::string> damage_of(const Bundle& bundle, const std::string& name, bool hashes) {
    const std::string manifest = inside(bundle.folder, "manifest.json");
    const std::string tidied = tidy(name);
    // A manifest may come from an untrusted source. A name must not lead out of the bundle's folder.
    const bool leaves = ("/" + tidied + "/").find("/../") != std::string::npos;
    if (tidied == "." || name[0] == '/' || leaves || name.find('\\') != std::string::npos) {
        return manifest + " names a file outside its bundle: " + repr(name);
    }
    const FileEntry* declared = bundle.manifest.file(name);
    if (declared == nullptr) return manifest + " has no hash for " + name;
    const std::string path = inside(bundle.folder, name);
    const Found there = kind_of(path);
    if (!there.is_file()) {
        if (there.kind == "nothing") return path + " is missing";
        return path + " is " + there.kind + ", not a file" + (there.why.empty() ? "" : ": " + there.why);
    }
    const std::string changed = path + " was changed after it was built\n  expected ";
    try {
        const std::uint64_t found = size_of_file(path);
        if (found != declared->bytes) {
            return changed + std::to_string(declared->bytes) + " bytes, found " + std::to_string(found);
        }
        if (!hashes) return std::nullopt;
        const std::string digest = sha256_of_file(path);
        if (digest == declared->sha256) return std::nullopt;
        return changed + "sha256 " + cut(declared->sha256, 12) + "..., found " + digest.substr(0, 12) + "...";
    } catch (const ReadError& error) {
        const std::string hint = hint_for(error.error);
        return path + " cannot be read: " + reason(error.error) + (hint.empty() ? "" : " (" + hint + ")");
    }
}

// Checks every file once, several at the same time.
std::vector<std::optional<std::string>> damage_of_all(const Bundle& bundle, const std::vector<std::string>& names,
                                                      bool hashes) {
    std::vector<std::optional<std::string>> found(names.size());
    std::vector<std::exception_ptr> failed(names.size());
    std::atomic<std::size_t> next = 0;
    const auto work = [&] {
        for (std::size_t i = next++; i < names.size(); i = next++) {
            try {
                found[i] = damage_of(bundle, names[i], hashes);
            } catch (...) {
                failed[i] = std::current_exception();
            }
        }
    };
    const std::size_t wanted = hashes ? std::clamp(std::thread::hardware_concurrency(), 1U, 8U) : 1;
    std::vector<std::thread> threads;
    try {
        while (threads.size() + 1 < std::min(wanted, names.size())) threads.emplace_back(work);
    } catch (const std::system_error&) {
        // Fewer threads do the same.
    }
    work();
    for (std::thread& thread : threads) thread.join();
    for (const auto& error : failed) {
        if (error) std::rethrow_exception(error);
    }
    return found;
}

}  // namespace

Bundle Bundle::open(const std::string& folder, bool hashes) {
    if (folder.empty()) throw bundle_error("a bundle is named by its folder, not by ''", "give a path");
    Bundle bundle;
    bundle.folder = tidy(expanded(folder));
    bundle.manifest = Manifest::read(bundle.folder);
    std::vector<std::string> names;
    std::set<std::string> known;
    const auto add = [&](const std::string& name) {
        if (known.insert(name).second) names.push_back(name);
    };
    for (const auto& [name, _] : bundle.manifest.files) add(name);
    add(constants_file);
    add(tokenizer_file);
    for (const StageEntry& entry : bundle.manifest.stages) {
        for (const std::string& name : entry.files) add(name);
        add(entry.file);
    }
    const auto damage = damage_of_all(bundle, names, hashes);
    std::vector<std::string> wrong, damaged;
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (damage[i]) wrong.push_back(*damage[i]), damaged.push_back(names[i]);
    }
    if (!wrong.empty()) throw bundle_error(joined(wrong, "\n"), bundle.repair_hint(damaged));
    return bundle;
}

std::string Bundle::path(const std::string& name) const { return inside(folder, name); }

std::string Bundle::rebuild_hint() const {
    // A processor gets no arithmetic from a new build.
    const std::string precision = manifest.backend.arithmetic.empty() ? manifest.precision : "fp32";
    return "rebuild it: " + rebuild_command(*this, {}, false, precision);
}

std::string Bundle::repair_hint(const std::vector<std::string>& names) const {
    // Every build writes the files that belong to no stage, even the build of a single stage.
    std::vector<std::string> stages;
    for (const StageEntry& entry : manifest.stages) {
        const auto is_its = [&](const std::string& name) {
            return name == entry.file || std::find(entry.files.begin(), entry.files.end(), name) != entry.files.end();
        };
        if (std::any_of(names.begin(), names.end(), is_its)) stages.push_back(entry.spec.name);
    }
    return "rebuild it: " + rebuild_command(*this, stages, true, manifest.precision) +
           (has_graphs_only() ? " --onnx-only" : "");
}

bool Bundle::has_graphs_only() const {
    const std::string& backend = manifest.backend.name;
    const bool builds = backend == "tensorrt" || backend == "tensorrt_rtx";
    const bool runs_graphs = backend == "onnxruntime" || backend == "onnxruntime_cuda" || backend == "openvino";
    if (!manifest.backend.version.empty() || !(builds || runs_graphs)) return false;
    const std::string suffix = builds ? ".engine" : ".onnx";
    return std::any_of(manifest.stages.begin(), manifest.stages.end(), [&](const StageEntry& entry) {
        const std::string& file = entry.file;
        return file.size() < suffix.size() || file.compare(file.size() - suffix.size(), suffix.size(), suffix) != 0;
    });
}

std::string Bundle::encoder_identity() const {
    const StageEntry& encoder = manifest.stage("text_encoder");
    std::map<std::string, std::string> hashes;
    for (const std::string& name : encoder.files) {
        const FileEntry* file = manifest.file(name);
        if (file == nullptr) throw bundle_error("the manifest has no hash for " + name, "build the bundle again");
        hashes[name] = file->sha256;
    }
    std::vector<std::string> parts;
    for (const auto& [name, hash] : hashes) parts.push_back(json_text(name) + ": " + json_text(hash));
    // json.dumps(..., sort_keys=True), as odise_trt/text_table.py has it.
    const std::string weights = manifest.weights_sha256.empty() ? "null" : json_text(manifest.weights_sha256);
    return sha256_of("{\"backend\": " + json_text(manifest.backend.name) + ", \"files\": {" + joined(parts) +
                     "}, \"precision\": " + json_text(manifest.precision) + ", \"weights\": " + weights + "}");
}

std::string rebuild_command(const Bundle& bundle, const std::vector<std::string>& stages, bool same_gpus,
                            const std::string& precision) {
    const Manifest& manifest = bundle.manifest;
    const BackendInfo& backend = manifest.backend;
    std::vector<std::pair<std::string, std::string>> options = {
        {"preset", manifest.preset}, {"backend", backend.name}, {"precision", precision}};
    if (!manifest.weights_source.empty()) options.emplace_back("weights", manifest.weights_source);
    for (const std::string& stage : stages) options.emplace_back("stage", stage);
    for (const StageEntry& entry : manifest.stages) {
        const bool optional = entry.spec.name == "raw_features" || entry.spec.name == "resize";
        if (stages.empty() && optional) options.emplace_back("with", entry.spec.name);
    }
    std::map<std::string, std::string> usual = {
        {"opset", "21"}, {"max-windows", ""}, {"image-sizes", ""}, {"calibration", ""}, {"modelopt-python", ""}};
    for (const char* known : {"onnxruntime", "tensorrt", "tensorrt_rtx"}) {
        if (backend.name == known) usual["sampling"] = "gather";
    }
    for (const char* known : {"openvino", "onnxruntime_cuda"}) {
        if (backend.name == known) usual["sampling"] = "grid_sample";
    }
    for (const auto& [name, value] : manifest.tools) {
        const auto known = usual.find(name);
        // Stages of different builds give "21 and 22". The manifest does not say which belongs to which.
        if (known != usual.end() && value != known->second && value.find(" and ") == std::string::npos) {
            options.emplace_back(name, value);
        }
    }
    if (same_gpus && backend.gpu.empty()) {
        for (const std::string& number : backend.compute_capability) options.emplace_back("compute-capability", number);
    }
    options.emplace_back("output", absolute_parent(bundle.folder));
    std::string line = "python export/build_engines.py";
    for (const auto& [name, value] : options) line += " --" + name + " " + shell_word(value);
    for (const auto& [name, _] : manifest.tools) {
        if (name == strip_weights) line += std::string(" --") + strip_weights;
    }
    for (const std::string& one : backend.compatible) line += " --" + one + "-compatible";
    return line;
}

}  // namespace odise

#include "manifest.hpp"

#include <dirent.h>

#include <algorithm>
#include <cerrno>

#include "error.hpp"
#include "files/files.hpp"
#include "text/python_text.hpp"

namespace odise {

namespace {

constexpr std::int64_t format = 1;
constexpr std::int64_t most_bytes = std::int64_t{1} << 62;
// Manifests have some ten kilobytes.
constexpr std::uint64_t most_manifest = 1 << 28;

// Throws MisfitError unless names can be put into the template.
std::string template_of(const Placed& placed) {
    const std::string text = placed.text();
    const std::size_t place = text.find("{}");
    std::string rest = text;
    if (place != std::string::npos) rest.erase(place, 2);
    if (place == std::string::npos || rest.find_first_of("{}") != std::string::npos) {
        throw MisfitError(placed.place, "must have {} once, for the name, it is " + cut(repr(text), 80));
    }
    return text;
}

std::int64_t grid(const Placed& placed) {
    const std::int64_t size = placed.whole(1, 1 << 15);
    if (size % 32 != 0) throw MisfitError(placed.place, "must be a multiple of 32, it is " + std::to_string(size));
    return size;
}

ModelSpec read_model(const Placed& placed) {
    const Object object(
        placed, {"kind", "short_side", "max_side", "divisor", "window", "num_queries", "mask_embed_dim", "clip_dim",
                 "clip_image_size", "context_length", "category_prompt", "clip_prompt", "train_labels", "alpha", "beta",
                 "object_mask_threshold", "overlap_threshold", "topk_per_image"});
    const auto side = [&](const char* name) { return object[name].whole(1, 1 << 15); };
    const auto width = [&](const char* name) { return object[name].whole(1, 1 << 16); };
    ModelSpec model;
    model.kind = object["kind"].one_of({"label", "caption"});
    model.short_side = side("short_side");
    model.max_side = side("max_side");
    model.divisor = grid(object["divisor"]);
    model.window = grid(object["window"]);
    model.num_queries = width("num_queries");
    model.mask_embed_dim = width("mask_embed_dim");
    model.clip_dim = width("clip_dim");
    model.clip_image_size = side("clip_image_size");
    model.context_length = object["context_length"].whole(3, 1 << 15);
    if (!object["category_prompt"].is_null()) model.category_prompt = template_of(object["category_prompt"]);
    model.clip_prompt = template_of(object["clip_prompt"]);
    for (const Placed& one : object["train_labels"].list()) model.train_labels.push_back(one.texts());
    model.alpha = object["alpha"].number(0, 1);
    model.beta = object["beta"].number(0, 1);
    if (object.has("object_mask_threshold")) {
        model.object_mask_threshold = object["object_mask_threshold"].number(0, 1);
    }
    if (object.has("overlap_threshold")) model.overlap_threshold = object["overlap_threshold"].number(0, 1);
    if (object.has("topk_per_image")) model.topk_per_image = object["topk_per_image"].whole(1, 2147483647);
    return model;
}

StageEntry read_stage(const Placed& placed) {
    const Object object(placed, {"spec", "file", "files", "onnx_sha256", "build_seconds", "peak_memory_bytes",
                                 "precision", "key", "weights_from"});
    StageEntry entry;
    entry.spec = read_spec(object["spec"]);
    entry.file = object["file"].text();
    entry.files = object["files"].texts();
    object["onnx_sha256"].text();
    object["build_seconds"].number(0, 1'000'000'000'000);
    object["peak_memory_bytes"].whole(0, most_bytes);
    if (object.has("precision") && !object["precision"].is_null()) {
        entry.precision = object["precision"].one_of({"fp32", "fp16", "bf16", "int8", "fp8"});
    }
    if (object.has("key") && !object["key"].is_null()) object["key"].text();
    if (object.has("weights_from") && !object["weights_from"].is_null()) {
        entry.weights_from = object["weights_from"].text();
    }
    return entry;
}

void check_parity(const Placed& placed) {
    const Object object(placed, {"stage", "tensor", "check", "sizes", "relative_l2", "max_abs", "tolerance"});
    for (const char* name : {"stage", "tensor", "check"}) object[name].text();
    for (const auto& [_, size] : object["sizes"].mapping()) size.whole();
    for (const char* name : {"relative_l2", "max_abs", "tolerance"}) object[name].number();
}

void a_text(const Placed& placed) { placed.text(); }
void texts(const Placed& placed) { placed.texts(); }
void flag(const Placed& placed) { placed.boolean(); }
void compatibilities(const Placed& placed) {
    for (const Placed& one : placed.list()) one.one_of({"version", "hardware"});
}

std::string optional_text(const Placed& mapping, const char* key) {
    const Json* value = mapping.value.find(key);
    return value == nullptr ? std::string() : value->text;
}

BackendInfo read_backend(const Placed& placed) {
    check_keys(placed, {{"name", a_text, true},
                        {"version", a_text},
                        {"compute_capability", texts},
                        {"gpu", a_text},
                        {"driver", a_text},
                        {"os", a_text},
                        {"arithmetic", texts},
                        {"compatible", compatibilities}});
    BackendInfo backend;
    backend.name = optional_text(placed, "name");
    backend.version = optional_text(placed, "version");
    backend.gpu = optional_text(placed, "gpu");
    backend.driver = optional_text(placed, "driver");
    backend.os = optional_text(placed, "os");
    for (auto [key, list] :
         {std::pair{"compute_capability", &backend.compute_capability}, std::pair{"arithmetic", &backend.arithmetic},
          std::pair{"compatible", &backend.compatible}}) {
        if (const Json* value = placed.value.find(key)) *list = Placed{*value, key}.texts();
    }
    return backend;
}

void read_weights(const Placed& placed, Manifest& manifest) {
    check_keys(placed, {{"source", a_text}, {"sha256", a_text}, {"seeded", flag}, {"sd_version", a_text}});
    manifest.weights_source = optional_text(placed, "source");
    manifest.weights_sha256 = optional_text(placed, "sha256");
    const Json* seeded = placed.value.find("seeded");
    manifest.seeded = seeded != nullptr && seeded->boolean;
}

FileEntry read_file_entry(const Placed& placed) {
    check_keys(placed,
               {{"sha256", a_text, true}, {"bytes", [](const Placed& one) { one.whole(0, most_bytes); }, true}});
    return {optional_text(placed, "sha256"), static_cast<std::uint64_t>(placed.value.find("bytes")->integer)};
}

Manifest read_manifest(const Json& data) {
    const Object object({data, ""}, {"preset", "precision", "weights", "backend", "model", "stages", "files", "parity",
                                     "precision_map", "tools", "created", "pipeline", "format"});
    Manifest manifest;
    manifest.preset = object["preset"].text();
    manifest.precision = object["precision"].one_of({"fp32", "fp16", "bf16", "int8", "fp8"});
    read_weights(object["weights"], manifest);
    manifest.backend = read_backend(object["backend"]);
    manifest.model = read_model(object["model"]);
    for (const Placed& one : object["stages"].list()) manifest.stages.push_back(read_stage(one));
    for (const auto& [name, one] : object["files"].mapping()) manifest.files.emplace_back(name, read_file_entry(one));
    if (object.has("parity")) {
        for (const Placed& one : object["parity"].list()) check_parity(one);
    }
    if (object.has("precision_map")) {
        for (const auto& [_, one] : object["precision_map"].mapping()) one.anything();
    }
    if (object.has("tools")) manifest.tools = object["tools"].named_texts();
    if (object.has("created")) object["created"].text();
    if (object.has("pipeline")) {
        for (const Placed& one : object["pipeline"].list()) manifest.pipeline.push_back(read_step(one));
    }
    return manifest;
}

void check(const Manifest& manifest) {
    std::map<std::string, const StageSpec*> stages;
    for (std::size_t number = 0; number < manifest.stages.size(); ++number) {
        const StageSpec& spec = manifest.stages[number].spec;
        const std::string place = "stages[" + std::to_string(number) + "]";
        spec.check();
        if (!stages.emplace(spec.name, &spec).second) {
            throw MisfitError(place, "is " + cut(repr(spec.name), 60) + " for the second time");
        }
        if (!spec.concrete) throw MisfitError(place, "has a tensor of dtype 'compute'");
        const auto& from = manifest.stages[number].weights_from;
        const auto& files = manifest.stages[number].files;
        if (from && std::find(files.begin(), files.end(), *from) == files.end()) {
            throw MisfitError(place, "takes weights from " + cut(repr(*from), 60) + ", which is none of its files");
        }
    }
    check_pipeline(manifest.pipeline, stages);
}

std::vector<std::string> bundles_in(const std::string& folder) {
    std::vector<std::string> found;
    if (DIR* directory = ::opendir(folder.c_str())) {
        while (const dirent* entry = ::readdir(directory)) {
            const std::string name = entry->d_name;
            const std::string one = inside(folder, name);
            if (name != "." && name != ".." && kind_of(inside(one, "manifest.json")).is_file()) found.push_back(one);
        }
        ::closedir(directory);
    }
    std::sort(found.begin(), found.end());
    return found;
}

Error no_bundle(const std::string& folder, int error) {
    if (auto names = bundles_in(folder); !names.empty()) {
        names.resize(std::min<std::size_t>(names.size(), 8));
        return bundle_error(folder + " is not a bundle, it holds bundles", "name one: " + joined(names));
    }
    const Found found = kind_of(folder);
    if (found.is_file()) {
        const std::size_t slash = folder.rfind('/');
        const std::string parent = slash == std::string::npos ? "." : slash == 0 ? "/" : folder.substr(0, slash);
        return bundle_error(folder + " is a file, not the folder of a bundle", "give " + parent);
    }
    const std::string build = "build one: python export/build_engines.py --preset demo";
    if (!found.is_there()) {
        return bundle_error(folder + " is not a bundle: " + (found.why.empty() ? "there is no such folder" : found.why),
                            build);
    }
    const std::string hint = hint_for(error);
    return bundle_error(folder + " is not a bundle: manifest.json cannot be read (" + reason(error) + ")",
                        hint.empty() ? build : hint);
}

}  // namespace

const StageEntry& Manifest::stage(const std::string& name) const {
    std::vector<std::string> have;
    for (const StageEntry& entry : stages) {
        if (entry.spec.name == name) return entry;
        have.push_back(entry.spec.name);
    }
    throw bundle_error(
        "the bundle has no stage " + repr(name) + " (it has: " + (have.empty() ? "none" : joined(have)) + ")",
        "build all stages");
}

const FileEntry* Manifest::file(const std::string& name) const {
    for (const auto& [one, entry] : files) {
        if (one == name) return &entry;
    }
    return nullptr;
}

Manifest Manifest::read(const std::string& folder) {
    const std::string path = inside(folder, "manifest.json");
    std::string content;
    try {
        content = read_file(path, most_manifest);
    } catch (const ReadError& error) {
        throw no_bundle(folder, error.error);
    }
    return parse(folder, content);
}

Manifest Manifest::parse(const std::string& folder, const std::string& content) {
    const std::string path = inside(folder, "manifest.json");
    Json data;
    try {
        data = parse_json(content);
    } catch (const JsonError& error) {
        throw bundle_error(path + " is not valid JSON: " + error.what(), "build the bundle again");
    }
    const Json* found = data.find("format");
    const bool whole = found != nullptr && found->kind == Json::Kind::integer;
    const bool same = found != nullptr && (whole || found->kind == Json::Kind::real) && found->real == format;
    if (!same) {
        throw bundle_error(folder + " has bundle format " + cut(found == nullptr ? "None" : found->repr(), 40) +
                               ", this version reads " + std::to_string(format),
                           whole && found->integer > format ? "update odise-trt" : "build the bundle again");
    }
    try {
        Manifest manifest = read_manifest(data);
        // A number such as 1.0 is equal to 1, but no build writes it.
        Placed{*found, "format"}.whole();
        check(manifest);
        return manifest;
    } catch (const MisfitError& error) {
        throw bundle_error(path + " is not as a build writes it: " + error.what(),
                           "undo the change, or build the bundle again");
    }
}

}  // namespace odise

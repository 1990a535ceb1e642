#include <cstdlib>
#include <fstream>

#include "bundle/bundle.hpp"
#include "check.hpp"
#include "error.hpp"
#include "files/sha256.hpp"

namespace {

std::string folder;

void write(const std::string& name, const std::string& content) {
    std::ofstream(folder + "/" + name, std::ios::binary) << content;
}

std::string entry(const std::string& name, const std::string& content) {
    return "\"" + name + "\": {\"sha256\": \"" + odise::sha256_of(content) +
           "\", \"bytes\": " + std::to_string(content.size()) + "}";
}

// A bundle of one stage. `head` and `shape` are put into the manifest as they are.
std::string manifest(const std::string& head = "\"format\": 1", const std::string& shape = "[1, \"height/4\"]") {
    return "{" + head + R"(, "preset": "demo", "precision": "fp32", "weights": {"source": "demo"},
        "backend": {"name": "openvino"}, "model": {"kind": "label", "short_side": 64, "max_side": 128, "divisor": 64,
        "window": 64, "num_queries": 4, "mask_embed_dim": 4, "clip_dim": 4, "clip_image_size": 32, "context_length": 77,
        "category_prompt": null, "clip_prompt": "a {}", "train_labels": [["cat", "kitten"]], "alpha": 0.3, "beta": 0.7},
        "stages": [{"spec": {"name": "one", "inputs": [{"name": "x", "dtype": "float32", "shape": )" +
           shape + R"(}], "outputs": [{"name": "y", "dtype": "float32", "shape": [1]}],
        "axes": [{"name": "height", "minimum": 64, "typical": 64, "maximum": 128}], "profiles": []}, "file": "one.onnx",
        "files": ["one.onnx"], "onnx_sha256": "", "build_seconds": 1, "peak_memory_bytes": 1}],
        "pipeline": [{"stage": "one", "inputs": {"x": "picture.x"}}], "parity": [], "files": {)" +
           entry("one.onnx", "graph") + ", " + entry("constants.npz", "numbers") + ", " +
           entry("tokenizer.json", "words") + "}}";
}

std::string open(bool hashes = true) {
    try {
        odise::Bundle::open(folder, hashes);
    } catch (const std::exception& error) {
        std::string words = error.what();
        for (std::size_t at; (at = words.find(folder)) != std::string::npos;) words.replace(at, folder.size(), "B");
        return words;
    }
    return "opened";
}

std::string with(const std::string& content) {
    write("manifest.json", content);
    return open();
}

void a_whole_bundle_opens() {
    CHECK_EQUAL(with(manifest()), "opened");
    const odise::Bundle bundle = odise::Bundle::open(folder, true);
    CHECK_EQUAL(bundle.manifest.stages[0].spec.inputs[0].shape[1].divisor, 4);
    CHECK_EQUAL(bundle.manifest.model.train_labels[0][1], "kitten");
}

void manifests_that_no_build_writes_are_refused() {
    const std::string not_as = "B/manifest.json is not as a build writes it: ";
    CHECK_EQUAL(with(manifest("\"format\": 2")), "B has bundle format 2, this version reads 1");
    CHECK_EQUAL(with(manifest("\"format\": true")), "B has bundle format True, this version reads 1");
    CHECK_EQUAL(with(manifest("\"format\": 1, \"more\": 1")), not_as + "has a field that is not known: 'more'");
    CHECK_EQUAL(with(manifest("\"format\": 1", "[1, \"depth\"]")), not_as + "one has x with 'depth', which is no axis");
    CHECK_EQUAL(with(manifest("\"format\": 1", "[0]")),
                not_as + "stages[0].spec.inputs[0].shape[0] must be a text, it is 0");
    CHECK_EQUAL(with("[]"), "B has bundle format None, this version reads 1");
}

void a_manifest_that_is_cut_off_is_refused() {
    const std::string whole = manifest();
    for (std::size_t size = 0; size < whole.size(); size += 7) {
        CHECK(with(whole.substr(0, size)).find("B/manifest.json is not valid JSON: ") == 0);
    }
}

// Whatever single byte is changed, nothing worse than an error happens.
void a_manifest_with_any_byte_changed_opens_or_is_refused() {
    const std::string whole = manifest();
    for (std::size_t i = 0; i < whole.size(); ++i) {
        for (const char value : {'"', '{', ']', '9', '-', '\xFF'}) {
            std::string other = whole;
            other[i] = value;
            try {
                odise::Manifest::parse(folder, other);
            } catch (const odise::Error& error) {
                CHECK(!std::string(error.what()).empty());
            }
        }
    }
    CHECK_EQUAL(with(whole), "opened");
}

void changed_and_missing_files_are_named() {
    write("one.onnx", "grapH");
    CHECK_EQUAL(open(), "B/one.onnx was changed after it was built\n  expected sha256 " +
                            odise::sha256_of("graph").substr(0, 12) + "..., found " +
                            odise::sha256_of("grapH").substr(0, 12) + "...");
    CHECK_EQUAL(open(false), "opened");
    write("one.onnx", "graph, longer");
    std::remove((folder + "/tokenizer.json").c_str());
    CHECK_EQUAL(open(false),
                "B/one.onnx was changed after it was built\n  expected 5 bytes, found 13\nB/tokenizer.json is missing");
    write("one.onnx", "graph");
    write("tokenizer.json", "words");
}

void a_file_outside_of_the_bundle_is_refused() {
    std::string content = manifest();
    content.replace(content.find("\"files\": [\"one.onnx\"]"), 21, "\"files\": [\"../one.onnx\"]");
    CHECK_EQUAL(with(content), "B/manifest.json names a file outside its bundle: '../one.onnx'");
}

void an_engine_may_take_its_weights_from_one_of_its_files() {
    const auto taking = [](const std::string& from) {
        std::string content = manifest();
        content.replace(content.find("\"onnx_sha256\""), 0, "\"weights_from\": " + from + ", ");
        return with(content);
    };
    CHECK_EQUAL(taking("null"), "opened");
    CHECK(!odise::Bundle::open(folder, true).manifest.stages[0].weights_from);
    CHECK_EQUAL(taking("\"one.onnx\""), "opened");
    CHECK_EQUAL(*odise::Bundle::open(folder, true).manifest.stages[0].weights_from, "one.onnx");
    CHECK_EQUAL(taking("\"two.onnx\""), "B/manifest.json is not as a build writes it: stages[0] takes weights from "
                                        "'two.onnx', which is none of its files");
    CHECK_EQUAL(taking("1"),
                "B/manifest.json is not as a build writes it: stages[0].weights_from must be a text, it is 1");
}

void it_is_built_again_without_weights() {
    std::string content = manifest();
    content.replace(content.find("\"parity\""), 0, "\"tools\": {\"strip-weights\": \"yes\"}, ");
    CHECK_EQUAL(with(content), "opened");
    const std::string hint = odise::Bundle::open(folder, true).repair_hint();
    const std::string last = " --strip-weights";
    CHECK(hint.size() > last.size() && hint.substr(hint.size() - last.size()) == last);
}

void it_is_built_again_as_compatible_as_it_was() {
    const auto compatible = [](const std::string& list) {
        std::string content = manifest();
        const std::string name = "\"openvino\"";
        content.replace(content.find(name), name.size(), name + ", \"compatible\": " + list);
        return with(content);
    };
    CHECK_EQUAL(compatible("[\"version\", \"hardware\"]"), "opened");
    const odise::Bundle bundle = odise::Bundle::open(folder, true);
    CHECK(bundle.manifest.backend.is_compatible("version") && bundle.manifest.backend.is_compatible("hardware"));
    CHECK(bundle.rebuild_hint().find(" --version-compatible --hardware-compatible") != std::string::npos);
    CHECK(compatible("[\"gpu\"]") != "opened");
}

}  // namespace

int main() {
    char name[] = "/tmp/odise_bundle_XXXXXX";
    folder = ::mkdtemp(name);
    write("one.onnx", "graph");
    write("constants.npz", "numbers");
    write("tokenizer.json", "words");
    a_whole_bundle_opens();
    manifests_that_no_build_writes_are_refused();
    a_manifest_that_is_cut_off_is_refused();
    a_manifest_with_any_byte_changed_opens_or_is_refused();
    changed_and_missing_files_are_named();
    a_file_outside_of_the_bundle_is_refused();
    an_engine_may_take_its_weights_from_one_of_its_files();
    it_is_built_again_without_weights();
    it_is_built_again_as_compatible_as_it_was();
    for (const char* one : {"one.onnx", "constants.npz", "tokenizer.json", "manifest.json"})
        std::remove((folder + "/" + one).c_str());
    std::remove(folder.c_str());
    return failures > 0;
}

#include "refit.hpp"

#include <algorithm>

#include "text/python_text.hpp"

namespace odise {

namespace {

constexpr const char* again = "build the stage again, or without --strip-weights";
constexpr std::size_t names_shown = 5;

std::string listed(const std::vector<std::string>& names) {
    std::vector<std::string> shown;
    for (std::size_t i = 0; i < std::min(names.size(), names_shown); ++i) {
        shown.push_back(names[i].empty() ? "one without a name" : names[i]);
    }
    const std::string more = std::to_string(names.size() - shown.size());
    return joined(shown) + (names.size() > names_shown ? " and " + more + " more" : "");
}

std::string reason_of(const std::string& said) { return said.empty() ? "no reason given" : said; }

}  // namespace

void refit(Refitter& refitter, const std::string& path, const std::string& graph) {
    if (!refitter.is_refittable()) return;  // It was not stripped, so it has its weights.
    const auto require = [&](bool made) {
        if (!made) throw backend_error(path + " cannot be given weights: " + reason_of(refitter.said()), again);
    };
    require(refitter.start());
    if (refitter.all().empty()) return;  // It needs none: some stages only resize and add.
    // Only now, so that bundles without such engines run where this library is missing.
    require(refitter.open_parser());
    // It succeeds only if the graph has all weights of the engine. The missing ones are no proof of that:
    // TensorRT for RTX may leave some out, https://github.com/pytorch/TensorRT/pull/4198.
    const bool done = refitter.read(graph);
    const std::vector<std::string> missing = refitter.missing();
    if (done && missing.empty() && refitter.finish()) return;
    const std::string said = refitter.said();
    const std::string name = graph.substr(graph.rfind('/') + 1);
    const std::string lacks = missing.empty() ? "" : ", which lacks " + listed(missing);
    const std::string why = said.empty() && !missing.empty() ? "" : ": " + reason_of(said);
    throw backend_error(path + " does not get its weights from " + name + lacks + why, again);
}

SharedLibrary parser_library(const std::string& path, const std::string& file, const std::string& product) {
    return {path + " cannot be given weights", file,
            "it is a part of " + product +
                ": name its folder in LD_LIBRARY_PATH, or build the stage again without "
                "--strip-weights"};
}

}  // namespace odise

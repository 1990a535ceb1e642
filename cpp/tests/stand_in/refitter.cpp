#include "refitter.hpp"

#include <set>
#include <sstream>

#include "machine.hpp"
#include "onnx_file.hpp"

namespace stand_in {

std::optional<std::vector<std::string>> lacking(const std::string& path) {
    const auto text = note(content_of(path), "stand_in.weights");
    if (!text) return std::nullopt;
    std::vector<std::string> names;
    std::istringstream lines(*text);
    for (std::string name; std::getline(lines, name);) names.push_back(name);
    return names;
}

bool Refitter::start() { return !fails("no refitter"); }

bool Refitter::open_parser() {
    const auto library = odise::parser_library(path_, machine().parser, "the stand-in");
    initializers_ = library.find<Initializers>("odise_stand_in_initializers");
    return !fails("no parser");
}

bool Refitter::read(const std::string& graph) {
    std::set<std::string> found;
    const auto take = [](void* to, const char* name) { static_cast<std::set<std::string>*>(to)->insert(name); };
    if (initializers_(graph.c_str(), take, &found) == 0) {
        said_ = "the graph cannot be read";
        return false;
    }
    std::vector<std::string> rest;
    for (const std::string& name : *lacks_) {
        if (found.count(name) == 0) rest.push_back(name);
    }
    lacks_ = rest;
    if (!rest.empty() && !goes_wrong("silent")) said_ = "not all weights were refitted";
    return rest.empty();
}

std::vector<std::string> Refitter::missing() {
    if (goes_wrong("hides missing")) return {};
    return *lacks_;
}

bool Refitter::finish() {
    if (fails("refuses weights")) return false;
    if (!lacks_->empty()) throw Fault("stage " + stage_ + " was finished without all of its weights");
    try {
        finish_();
    } catch (const odise::Error& error) {
        said_ = error.what();
        return false;
    }
    const std::lock_guard lock(machine().mutex);
    ++machine().counts.refitted;
    return true;
}

bool Refitter::goes_wrong(const std::string& what) const {
    const auto found = machine().refits.find(stage_);
    return found != machine().refits.end() && found->second.count(what) > 0;
}

bool Refitter::fails(const std::string& what) {
    if (!goes_wrong(what)) return false;
    if (!goes_wrong("silent")) said_ = what;
    return true;
}

}  // namespace stand_in

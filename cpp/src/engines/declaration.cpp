#include "declaration.hpp"

#include <map>

#include "error.hpp"
#include "text/python_text.hpp"

namespace odise {

namespace {

// As Python prints a dict.
std::string listed(const Ports& ports) {
    std::vector<std::string> parts;
    for (const auto& [name, type] : ports) parts.push_back(repr(name) + ": " + repr(type));
    return "{" + joined(parts) + "}";
}

}  // namespace

void check_declaration(const std::string& path, const char* side, const std::vector<Tensor>& declared,
                       const Ports& found) {
    Ports wanted;
    for (const Tensor& tensor : declared) wanted.emplace_back(tensor.name, name_of(tensor.dtype));
    using Sorted = std::map<std::string, std::string>;
    if (Sorted(wanted.begin(), wanted.end()) == Sorted(found.begin(), found.end())) return;
    throw backend_error(path + " has " + side + " " + listed(found) + ", the manifest declares " + listed(wanted),
                        "build the stage again");
}

}  // namespace odise

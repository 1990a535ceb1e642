// What an engine has, compared with what the manifest declares.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "bundle/spec.hpp"

namespace odise {

// Names of tensors and their dtypes, in the order of the engine.
using Ports = std::vector<std::pair<std::string, std::string>>;

// Throws BackendError unless names and dtypes are those of the declaration, in any order.
// `side`: "inputs" or "outputs".
void check_declaration(const std::string& path, const char* side, const std::vector<Tensor>& declared,
                       const Ports& found);

}  // namespace odise

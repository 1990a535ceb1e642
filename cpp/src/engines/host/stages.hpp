// Stages without weights that this library computes itself on a CPU, where that is faster than their graphs.
#pragma once

#include "engines/engine.hpp"

namespace odise {

// An engine that gives what the graph of a stage gives, up to rounding. nullptr: there is none.
std::unique_ptr<Engine> host_stage(const StageSpec& spec);

}  // namespace odise

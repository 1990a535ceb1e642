// Puts the weights of a graph into an engine that was built without them. See odise_trt/backends/tensorrt_refit.py.
#pragma once

#include <string>
#include <vector>

#include "shared_library.hpp"

namespace odise {

// How a library gives weights to one of its engines, which has no execution context yet: TensorRT, or the stand-in of
// the tests. `refit` calls the methods in this order. Whatever has the weights lives until the object ends.
class Refitter {
  public:
    Refitter() = default;
    Refitter(const Refitter&) = delete;
    Refitter& operator=(const Refitter&) = delete;
    virtual ~Refitter() = default;

    // Whether the engine was built to be given weights. Others have theirs.
    virtual bool is_refittable() const = 0;
    // Makes what gives weights to the engine. false: it cannot be made.
    virtual bool start() = 0;
    // The names of all weights that can be given.
    virtual std::vector<std::string> all() = 0;
    // Makes what reads graphs, in a library of its own. false: it cannot be made. Throws BackendError: the library
    // cannot be loaded.
    virtual bool open_parser() = 0;
    // Takes the weights of an ONNX file, with its external data beside it. false: some are not there, or do not fit.
    virtual bool read(const std::string& graph) = 0;
    // The names of weights that were not given.
    virtual std::vector<std::string> missing() = 0;
    // Puts the weights into the engine.
    virtual bool finish() = 0;
    // What the library logged since the last call. Empty: nothing.
    virtual std::string said() = 0;
};

// Gives an engine its weights. The GPU is the current one, and no other thread knows the engine yet: it is being
// opened. `path`: the engine's file, for messages. `graph`: the ONNX file that it was built from. Throws BackendError:
// it does not take the weights, or the graph lacks some. The message names them.
void refit(Refitter& refitter, const std::string& path, const std::string& graph);

// Loads the library that reads graphs for the engine at `path`. `product`: what it is a part of, for the way out.
// Throws BackendError.
SharedLibrary parser_library(const std::string& path, const std::string& file, const std::string& product);

}  // namespace odise

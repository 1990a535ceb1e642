// Sessions of ONNX Runtime for the stages of a bundle, on whatever they run.
#pragma once

#include "bundle/bundle.hpp"
#include "error.hpp"
#include "onnxruntime_api.hpp"

namespace odise::ort {

ONNXTensorElementDataType type_of(Dtype dtype);

// Starts the library. It logs what is of this level or worse. Throws BackendError.
std::shared_ptr<OrtEnv> start(OrtLoggingLevel level);
// The version of the library: "1.31.1".
std::string version();
// {1, 31}
std::pair<int, int> version_numbers();

// What a graph's metadata has for a key. Empty: nothing.
std::string metadata(const OrtSession* session, const char* key);

// Options that all sessions have.
SessionOptions session_options(int threads, GraphOptimizationLevel level);
// Opens the file of a stage. Throws BackendError: it cannot be loaded, or is not what the manifest declares.
Session open_session(const OrtEnv* environment, const std::string& path, const StageSpec& spec,
                     const OrtSessionOptions* options);

// A tensor that a session reads or writes where it is. `data`: in the memory that `memory` names.
Value value_at(const OrtMemoryInfo* memory, void* data, std::size_t bytes, Dtype dtype, const Shape& shape);

// Why a stage failed in a run, for the user.
Error run_error(const StageSpec& spec, const Failure& failure);

}  // namespace odise::ort

#pragma once

#include "engines/engine.hpp"

namespace stand_in {

// The engines of the library for ONNX Runtime on a GPU. Here, their sessions run on the CPU.
std::unique_ptr<odise::Backend> open_onnxruntime(const odise::EngineOptions& options);

}  // namespace stand_in

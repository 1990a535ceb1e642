#pragma once

#include "device/engine.hpp"

namespace stand_in {

// The version that bundles for it are built by.
constexpr const char* version = "10.13.0.1";

// Engines on a GPU of the stand-in. Each runs its ONNX graph in OpenVINO, so the numbers are true.
std::unique_ptr<odise::Backend> open_stand_in(const odise::EngineOptions& options);

}  // namespace stand_in

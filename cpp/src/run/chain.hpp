// Runs the pipeline of a bundle. It knows steps and stages, and nothing of ODISE.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engines/engine.hpp"

namespace odise {

// Wall seconds of each part, in the order they ran.
using Timings = std::vector<std::pair<std::string, double>>;

class Chain {
  public:
    // Loads the engines of the pipeline, the largest first. Throws BackendError, BundleError.
    // `windows_at_once`: the most windows per run of a step.
    // `graphs_only`: no stage is computed by this library itself.
    Chain(const Bundle& bundle, Backend& backend, std::int64_t windows_at_once, bool graphs_only);

    // Runs the steps of some tasks that `reads` are made of, and returns those of them that these tasks make.
    // A tensor that no later step takes is freed at once. Throws BackendError.
    Arrays run(const std::vector<std::string>& tasks, Arrays tensors, const std::vector<std::string>& reads,
               Timings& timings);
    // The engine of a stage. One that no step has is loaded on first use. Throws BackendError, BundleError.
    Engine& engine(const std::string& stage);

  private:
    const Bundle& bundle_;
    const Manifest& manifest_;
    Backend& backend_;
    std::map<std::string, std::unique_ptr<Engine>> engines_;
    std::int64_t windows_at_once_;

    Arrays run_step(const Step& step, const Arrays& inputs);
};

}  // namespace odise

// Which steps of a pipeline run, and how much of a repeated one runs at once. Both chains ask this.
#pragma once

#include "bundle/bundle.hpp"

namespace odise {

// The stages of a pipeline in the order in which they should be opened. Throws BundleError if there is no pipeline.
std::vector<const StageEntry*> largest_first(const Bundle& bundle);

// The steps of some tasks that `reads` are made of, in order.
std::vector<const Step*> needed_steps(const Manifest& manifest, const std::vector<std::string>& tasks,
                                      const std::vector<std::string>& reads);

// How much of the repeated axis one run of a step takes.
// `sizes`: of all runs together. `most`: at most so much. `block`: bytes that a tensor of a block of rows may have.
std::int64_t part_of_run(const Step& step, const StageSpec& spec, const Sizes& sizes, std::int64_t most,
                         std::int64_t block);

// The index of the profile that holds the sizes and is tuned nearest to them. Throws BackendError if none does.
std::size_t choose_profile(const StageSpec& spec, const Sizes& sizes);

}  // namespace odise

// What a picture of a size needs on a device, and how much of it runs at once. No memory is touched here.
// See odise_trt/chains/plan.py.
#pragma once

#include "arena.hpp"
#include "engine.hpp"

namespace odise {

using Engines = std::map<std::string, std::unique_ptr<DeviceEngine>>;

// At most so much per run.
struct AtOnce {
    std::int64_t windows, rows;

    std::int64_t of(const std::string& axis) const { return axis == "windows" ? windows : rows; }
};

struct Plan {
    std::vector<SizedStep> steps;
    PerRun per_run;
    Arena arena;
    std::size_t scratch = 0;  // of the hungriest run: runs follow each other, so all share it
    // What the host reads, in its order: "stage.tensor" with dtype and shape.
    Packed reads;
    PerRun wanted;   // as `per_run`, if memory were no question
    PerRun allowed;  // as `per_run`, before this plan looked at the memory

    // Device memory of all that the steps make, and scratch memory.
    std::size_t bytes() const { return arena.bytes + scratch + reads.bytes(); }
    // "2 windows, 64 rows": what runs at once where that is less than wanted. Empty: nowhere.
    std::string reduced() const;
    // The most that a run of any step takes.
    AtOnce most() const;
};

// Windows and blocks of rows run at once as far as engines and memory allow. A plan that needs more than `budget` is
// returned all the same, if nothing can be made smaller.
// `given`: shapes of what the host gives. `asked`: what is wanted. `allowed`: less, after memory ran out before.
// Throws BackendError: shapes do not fit the stages, or no profile holds them.
Plan make_plan(const Manifest& manifest, const std::vector<std::string>& tasks, const Shapes& given,
               const std::vector<std::string>& reads, const Engines& engines, const AtOnce& asked,
               const AtOnce& allowed, std::size_t budget);

}  // namespace odise

#include "arena.hpp"

#include <algorithm>

namespace odise {

Shape SizedStep::part(const Tensor& tensor, std::int64_t count) const {
    Shape whole = shape(tensor);
    if (step->is_repeated(tensor)) whole[0] = count;
    return whole;
}

bool SizedStep::parts_are_aligned(const Tensor& tensor, std::int64_t per_run) const {
    if (!step->is_repeated(tensor) || runs_over() <= per_run) return true;
    return bytes_of(tensor.dtype, part(tensor, per_run)) % alignment == 0;
}

std::vector<SizedStep> size_steps(const Manifest& manifest, const std::vector<const Step*>& steps, Shapes given) {
    std::vector<SizedStep> sized;
    for (const Step* step : steps) {
        SizedStep one{step, &manifest.stage(step->stage).spec, {}};
        for (const Tensor& tensor : one.spec->inputs) {
            const auto wiring = step->inputs.find(tensor.name);
            if (wiring == step->inputs.end()) continue;  // Carried from run to run, with axes that other inputs have.
            const auto shape = given.find(wiring->second);
            if (shape == given.end()) {
                throw backend_error("stage " + step->stage + " takes " + wiring->second +
                                    ", which the host does not give");
            }
            learn_sizes(*one.spec, tensor, shape->second, one.sizes);
        }
        for (const Tensor& tensor : one.spec->outputs) given[one.name_of(tensor)] = one.shape(tensor);
        sized.push_back(std::move(one));
    }
    return sized;
}

std::vector<Block> lifetimes(const std::vector<SizedStep>& steps, const PerRun& per_run, const Shapes& elsewhere) {
    std::map<std::string, std::size_t> last;
    for (std::size_t number = 0; number < steps.size(); ++number) {
        for (const auto& [_, wiring] : steps[number].step->inputs) last[wiring] = number;
    }
    std::vector<Block> blocks;
    for (std::size_t number = 0; number < steps.size(); ++number) {
        const SizedStep& one = steps[number];
        for (const Tensor& tensor : one.spec->outputs) {
            const std::size_t size = bytes_of(tensor.dtype, one.shape(tensor));
            const std::string name = one.name_of(tensor);
            const auto use = last.find(name);
            if (elsewhere.count(name) == 0) {
                blocks.push_back({name, size, number, use == last.end() ? number : use->second});
            }
            const auto back = one.step->carried.find(tensor.name);
            // The runs of the step write to both in turns.
            if (back != one.step->carried.end()) {
                blocks.push_back({one.step->stage + "." + back->second, size, number, number});
            }
        }
        const std::int64_t count = count_of(per_run, one.step->stage);
        for (const auto* tensors : {&one.spec->inputs, &one.spec->outputs}) {
            for (const Tensor& tensor : *tensors) {
                if (one.parts_are_aligned(tensor, count)) continue;
                const std::size_t size = bytes_of(tensor.dtype, one.part(tensor, count));
                blocks.push_back({one.part_name(tensor), size, number, number});
            }
        }
    }
    return blocks;
}

Arena place(std::vector<Block> blocks) {
    std::sort(blocks.begin(), blocks.end(), [](const Block& a, const Block& b) {
        if (a.room() != b.room()) return a.room() > b.room();
        return a.first != b.first ? a.first < b.first : a.name < b.name;
    });
    Arena arena;
    std::vector<std::pair<std::size_t, const Block*>> placed;
    for (const Block& block : blocks) {
        std::vector<std::pair<std::size_t, std::size_t>> taken;
        for (const auto& [offset, other] : placed) {
            if (other->meets(block)) taken.emplace_back(offset, offset + other->room());
        }
        std::sort(taken.begin(), taken.end());
        std::size_t start = 0;
        for (const auto& [low, high] : taken) {
            if (low >= start + block.room()) break;
            start = std::max(start, high);
        }
        placed.emplace_back(start, &block);
        arena.offsets[block.name] = start;
        arena.bytes = std::max(arena.bytes, start + block.room());
        std::size_t alive = 0;
        for (const Block& other : blocks) {
            if (other.first <= block.first && block.first <= other.last) alive += other.room();
        }
        arena.least = std::max(arena.least, alive);
    }
    return arena;
}

}  // namespace odise

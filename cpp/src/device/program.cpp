#include "program.hpp"

#include <algorithm>

namespace odise {

void queue_launch(const Launch& launch) {
    try {
        launch.engine->enqueue(launch.inputs, launch.outputs);
    } catch (const DeviceMemoryError&) {
        throw;
    } catch (const Error& error) {
        const std::string& stage = launch.engine->spec().name;
        if (std::string(error.what()).find(stage) != std::string::npos) throw;
        throw Error(error.status, "stage " + stage + ": " + error.what(), error.hint);
    }
}

void Program::queue(Device& device) const {
    for (const Operation& operation : operations_) {
        if (const auto* launch = std::get_if<Launch>(&operation)) {
            queue_launch(*launch);
        } else if (const auto* clear = std::get_if<Clear>(&operation)) {
            device.clear(clear->target.address, clear->target.bytes());
        } else if (const auto* copy = std::get_if<Copy>(&operation)) {
            device.copy(copy->target.address, copy->source.address, copy->source.bytes());
        }
    }
}

void Program::queue_first() const {
    for (const Operation& operation : operations_) {
        if (const auto* launch = std::get_if<Launch>(&operation)) return queue_launch(*launch);
    }
}

void Program::keep() const {
    std::size_t done = 0;
    try {
        for (; done < operations_.size(); ++done) {
            const auto* launch = std::get_if<Launch>(&operations_[done]);
            if (launch != nullptr) launch->engine->keep(shapes_of(launch->inputs));
        }
    } catch (...) {
        release(done);
        throw;
    }
}

void Program::release(std::size_t count) const noexcept {
    for (std::size_t number = 0; number < count; ++number) {
        const auto* launch = std::get_if<Launch>(&operations_[number]);
        if (launch != nullptr) launch->engine->release(shapes_of(launch->inputs));
    }
}

bool Program::can_be_recorded() const {
    return std::all_of(operations_.begin(), operations_.end(), [](const Operation& operation) {
        const auto* launch = std::get_if<Launch>(&operation);
        return launch == nullptr || launch->engine->can_be_recorded(shapes_of(launch->inputs));
    });
}

namespace {

class Binder {
  public:
    Binder(const Plan& plan, const Engines& engines, Address arena, DeviceTensors tensors)
        : plan_(plan), engines_(engines), arena_(arena), tensors_(std::move(tensors)) {}

    std::vector<Operation> operations() {
        for (const SizedStep& one : plan_.steps) {
            for (const Tensor& tensor : one.spec->outputs) {
                const std::string name = one.name_of(tensor);
                if (tensors_.count(name) == 0) tensors_[name] = in_arena(name, tensor.dtype, one.shape(tensor));
            }
            add_runs(one);
        }
        return std::move(made_);
    }

  private:
    const Plan& plan_;
    const Engines& engines_;
    Address arena_;
    DeviceTensors tensors_;
    std::vector<Operation> made_;

    void add_runs(const SizedStep& one) {
        const std::int64_t whole = one.runs_over(), count = std::min(count_of(plan_.per_run, one.step->stage), whole);
        const std::int64_t runs = (whole + count - 1) / count;
        for (std::int64_t number = 0; number < runs; ++number) {
            const std::int64_t start = number * count, stop = std::min(start + count, whole);
            DeviceTensors inputs, outputs;
            std::vector<Operation> after;
            for (const Tensor& tensor : one.spec->inputs) {
                const auto wiring = one.step->inputs.find(tensor.name);
                if (wiring == one.step->inputs.end()) continue;
                const DeviceTensor& source = tensors_.at(wiring->second);
                inputs[tensor.name] = part_of(one, tensor, source, start, stop, count);
                if (!one.parts_are_aligned(tensor, count)) {
                    made_.push_back(Copy{inputs[tensor.name], source.part(start, stop)});
                }
            }
            for (const auto& [output, back] : one.step->carried) {
                const Tensor& tensor = *one.spec->output(output);
                const DeviceTensor& own = tensors_.at(one.name_of(tensor));
                const DeviceTensor other = in_arena(one.step->stage + "." + back, own.dtype, own.shape);
                // The last run writes to the tensor itself, the one before to the other memory, and so on.
                const bool to_own = (runs - 1 - number) % 2 == 0;
                outputs[output] = to_own ? own : other;
                inputs[back] = to_own ? other : own;
                if (number == 0) made_.push_back(Clear{inputs[back]});
            }
            for (const Tensor& tensor : one.spec->outputs) {
                if (outputs.count(tensor.name) > 0) continue;
                const DeviceTensor& target = tensors_.at(one.name_of(tensor));
                outputs[tensor.name] = part_of(one, tensor, target, start, stop, count);
                if (!one.parts_are_aligned(tensor, count)) {
                    after.push_back(Copy{target.part(start, stop), outputs[tensor.name]});
                }
            }
            made_.push_back(Launch{engines_.at(one.step->stage).get(), std::move(inputs), std::move(outputs)});
            std::move(after.begin(), after.end(), std::back_inserter(made_));
        }
    }

    // What a run takes of a tensor, at an aligned address.
    DeviceTensor part_of(const SizedStep& one, const Tensor& tensor, const DeviceTensor& whole, std::int64_t start,
                         std::int64_t stop, std::int64_t count) const {
        if (!one.step->is_repeated(tensor)) return whole;
        DeviceTensor part = whole.part(start, stop);
        if (one.parts_are_aligned(tensor, count)) return part;
        return in_arena(one.part_name(tensor), part.dtype, part.shape);
    }

    DeviceTensor in_arena(const std::string& name, Dtype dtype, const Shape& shape) const {
        return {arena_ + plan_.arena.offsets.at(name), dtype, shape};
    }
};

}  // namespace

Program bind(const Plan& plan, const Engines& engines, Address arena, DeviceTensors tensors) {
    return Program(Binder(plan, engines, arena, std::move(tensors)).operations());
}

}  // namespace odise

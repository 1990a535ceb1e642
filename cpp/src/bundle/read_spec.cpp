// Stages and steps from their JSON, and whether they fit together.
#include <algorithm>
#include <set>

#include "spec.hpp"
#include "text/python_text.hpp"

namespace odise {

namespace {

std::int64_t size_of(const Placed& placed) { return placed.whole(1, 2147483647); }

// "height/4" -> axis and divisor. False: it is no dimension.
bool split(const std::string& text, Dimension& dimension) {
    const std::size_t slash = text.find('/');
    const std::string axis = text.substr(0, slash);
    const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; };
    if (axis.empty() || !std::all_of(axis.begin(), axis.end(), is_letter)) return false;
    dimension.axis = axis;
    if (slash == std::string::npos) return true;
    const std::string divisor = text.substr(slash + 1);
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    if (divisor.empty() || divisor.size() > 9 || divisor[0] == '0' ||
        !std::all_of(divisor.begin(), divisor.end(), is_digit)) {
        return false;
    }
    dimension.divisor = std::stoll(divisor);
    return true;
}

Dimension read_dimension(const Placed& placed) {
    Dimension dimension;
    if (placed.value.kind == Json::Kind::integer && placed.value.integer >= 1 && placed.value.integer <= 2147483647) {
        dimension.size = placed.value.integer;
        return dimension;
    }
    const std::string text = placed.text();
    // One that is no dimension has a name that no axis has: `StageSpec::check` says so.
    if (!split(text, dimension)) dimension = {0, text, 1};
    return dimension;
}

// False: the dtype is that of the build, which no bundle has.
bool read_dtype(const Placed& placed, Dtype& dtype) {
    const std::string name = placed.one_of({"float32", "float16", "int64", "int32", "uint8", "compute"});
    for (const Dtype one : {Dtype::float32, Dtype::float16, Dtype::int64, Dtype::int32, Dtype::uint8}) {
        if (name_of(one) == name) {
            dtype = one;
            return true;
        }
    }
    return false;
}

std::vector<Tensor> read_tensors(const Placed& placed, bool& concrete) {
    std::vector<Tensor> tensors;
    for (const Placed& one : placed.list()) {
        const Object object(one, {"name", "dtype", "shape"});
        Tensor tensor;
        tensor.name = object["name"].text();
        concrete &= read_dtype(object["dtype"], tensor.dtype);
        for (const Placed& dimension : object["shape"].list()) tensor.shape.push_back(read_dimension(dimension));
        tensors.push_back(std::move(tensor));
    }
    return tensors;
}

Range read_range(const Placed& placed) {
    const auto values = placed.list();
    if (values.size() != 3) {
        throw MisfitError(placed.place, "must have 3 values, it has " + std::to_string(values.size()));
    }
    return {size_of(values[0]), size_of(values[1]), size_of(values[2])};
}

const char* const host[] = {"picture", "vocabulary", "request"};
const std::vector<std::string> all_tasks = {"panoptic", "semantic", "instance"};

bool is_host(const std::string& source) {
    return std::any_of(std::begin(host), std::end(host), [&](const char* one) { return source == one; });
}

}  // namespace

StageSpec read_spec(const Placed& placed) {
    const Object object(placed, {"name", "inputs", "outputs", "axes", "profiles", "tolerance"});
    StageSpec spec;
    spec.name = object["name"].text();
    spec.inputs = read_tensors(object["inputs"], spec.concrete);
    spec.outputs = read_tensors(object["outputs"], spec.concrete);
    for (const Placed& one : object["axes"].list()) {
        const Object axis(one, {"name", "minimum", "typical", "maximum", "multiple"});
        Axis made;
        made.name = axis["name"].text();
        made.range.least = size_of(axis["minimum"]);
        made.range.typical = size_of(axis["typical"]);
        made.range.most = size_of(axis["maximum"]);
        if (axis.has("multiple")) made.multiple = size_of(axis["multiple"]);
        spec.axes.push_back(std::move(made));
    }
    for (const Placed& one : object["profiles"].list()) {
        const Object profile(one, {"name", "ranges"});
        Profile made;
        made.name = profile["name"].text();
        for (const auto& [axis, range] : profile["ranges"].mapping()) made.ranges.emplace_back(axis, read_range(range));
        spec.profiles.push_back(std::move(made));
    }
    if (object.has("tolerance")) {
        const Object tolerance(object["tolerance"], {"fp32", "fp16", "bf16", "int8", "fp8"});
        for (const char* precision : {"fp32", "fp16", "bf16", "int8", "fp8"}) {
            if (tolerance.has(precision)) tolerance[precision].number();
        }
    }
    return spec;
}

Step read_step(const Placed& placed) {
    const Object object(placed, {"stage", "inputs", "tasks", "repeat", "carried"});
    Step step;
    step.stage = object["stage"].text();
    for (const auto& [name, wiring] : object["inputs"].named_texts()) step.inputs[name] = wiring;
    if (object.has("tasks")) {
        for (const Placed& one : object["tasks"].list()) {
            step.tasks.push_back(one.one_of({"panoptic", "semantic", "instance"}));
        }
    }
    if (object.has("repeat") && !object["repeat"].is_null()) {
        step.repeat = object["repeat"].one_of({"windows", "rows"});
    }
    if (object.has("carried")) {
        for (const auto& [output, back] : object["carried"].named_texts()) step.carried[output] = back;
    }
    return step;
}

namespace {

void check_inputs(const std::string& place, const Step& step, const StageSpec& spec,
                  const std::map<std::string, const Step*>& done,
                  const std::map<std::string, const StageSpec*>& stages) {
    std::set<std::string> needed, wired;
    for (const Tensor& tensor : spec.inputs) needed.insert(tensor.name);
    for (const auto& [output, back] : step.carried) {
        const Tensor *from = spec.output(output), *to = spec.input(back);
        if (from == nullptr || to == nullptr || !(from->shape == to->shape) || from->dtype != to->dtype) {
            throw MisfitError(
                place, "carries " + cut(repr(output), 60) + " to " + cut(repr(back), 60) + ", which is not the same");
        }
        needed.erase(back);
    }
    for (const auto& [name, _] : step.inputs) wired.insert(name);
    if (needed != wired) {
        std::vector<std::string> differ;
        std::set_symmetric_difference(needed.begin(), needed.end(), wired.begin(), wired.end(),
                                      std::back_inserter(differ));
        throw MisfitError(place,
                          "and stage " + step.stage + " do not have the same inputs: " + cut(joined(differ), 120));
    }
    for (const auto& input : step.inputs) {
        const std::string &name = input.first, &wiring = input.second;
        const std::size_t point = wiring.find('.');
        const std::string source = wiring.substr(0, point);
        if (is_host(source)) continue;
        const auto complain = [&](const char* why) {
            return MisfitError(place, "takes " + name + " from " + cut(repr(wiring), 60) + ", which " + why);
        };
        const auto earlier = done.find(source);
        if (earlier == done.end()) throw complain("no earlier step gives");
        const Tensor* given =
            point == std::string::npos ? nullptr : stages.at(source)->output(wiring.substr(point + 1));
        if (given == nullptr || given->dtype != spec.input(name)->dtype) throw complain("is no such tensor");
        const auto& runs_for = earlier->second->tasks;
        const auto& wanted = step.tasks.empty() ? all_tasks : step.tasks;
        for (const std::string& task : wanted) {
            if (!runs_for.empty() && std::find(runs_for.begin(), runs_for.end(), task) == runs_for.end()) {
                throw complain("not every task runs");
            }
        }
    }
}

}  // namespace

void check_pipeline(const std::vector<Step>& steps, const std::map<std::string, const StageSpec*>& stages) {
    std::map<std::string, const Step*> done;
    for (std::size_t number = 0; number < steps.size(); ++number) {
        const Step& step = steps[number];
        const std::string place = "pipeline[" + std::to_string(number) + "]";
        const auto stage = stages.find(step.stage);
        if (stage == stages.end()) {
            throw MisfitError(place, "names the stage " + cut(repr(step.stage), 60) + ", which the bundle lacks");
        }
        if (done.count(step.stage) > 0) {
            throw MisfitError(place, "runs " + cut(repr(step.stage), 60) + " for the second time");
        }
        check_inputs(place, step, *stage->second, done, stages);
        done[step.stage] = &step;
    }
}

}  // namespace odise

#include "engine.hpp"

#include <sys/utsname.h>

#include <algorithm>

#include "run/steps.hpp"
#include "text/python_text.hpp"

namespace odise {

void DeviceEngine::run(const Sizes&, const Arrays& inputs, const Arrays& outputs) {
    Device& device = *backend_.device();
    const Current current(device);
    Packed packed;
    for (const auto* arrays : {&inputs, &outputs}) {
        for (const auto& [name, array] : *arrays) packed.add(name, array.dtype, array.shape);
    }
    Buffer memory(device);
    const DeviceTensors all = packed.at(memory.reserve(packed.bytes()));
    DeviceTensors taken, given;
    for (const auto& [name, _] : inputs) taken[name] = all.at(name);
    for (const auto& [name, _] : outputs) given[name] = all.at(name);
    backend_.scratch().reserve(std::max<std::size_t>(scratch(shapes_of(taken)), 1));
    try {
        for (const auto& [name, array] : inputs) device.upload(taken[name].address, array.data(), array.bytes());
        {
            const std::shared_lock lock(recording_turns());
            enqueue(taken, given);
        }
        for (const auto& [name, array] : outputs) device.download(array.data(), given[name].address, array.bytes());
    } catch (const Error&) {
        // What is queued already uses memory that ends here.
        device.synchronize();
        throw;
    }
    device.synchronize();
}

Sizes DeviceEngine::sizes_of(const Shapes& inputs) const {
    Sizes sizes;
    for (const Tensor& tensor : spec_.inputs) {
        const auto shape = inputs.find(tensor.name);
        if (shape == inputs.end())
            throw backend_error("stage " + spec_.name + ": input " + tensor.name + " is missing");
        learn_sizes(spec_, tensor, shape->second, sizes);
    }
    check_sizes(spec_, sizes);
    return sizes;
}

Sizes DeviceEngine::check_tensors(const DeviceTensors& inputs, const DeviceTensors& outputs) const {
    const Sizes sizes = sizes_of(shapes_of(inputs));
    const auto said = [](Dtype dtype, const Shape& shape) { return name_of(dtype) + " " + tuple_of(shape); };
    for (const Tensor& tensor : spec_.outputs) {
        const auto found = outputs.find(tensor.name);
        const Shape shape = tensor.resolve(sizes);
        if (found != outputs.end() && found->second.dtype == tensor.dtype && found->second.shape == shape) continue;
        const std::string room = found == outputs.end() ? "nothing" : said(found->second.dtype, found->second.shape);
        throw backend_error("stage " + spec_.name + ": output " + tensor.name + " has room for " + room + ", it is " +
                            said(tensor.dtype, shape));
    }
    return sizes;
}

std::size_t DeviceEngine::profile_for(const Sizes& sizes) const {
    return spec_.profiles.empty() ? 0 : choose_profile(spec_, sizes);
}

std::shared_mutex& recording_turns() {
    static auto& one = *new std::shared_mutex;
    return one;
}

std::string host_os() {
    utsname found{};
    if (uname(&found) != 0) return "unknown";
    std::string text = std::string(found.sysname) + "-" + found.machine;
    std::transform(text.begin(), text.end(), text.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return text;
}

bool is_about_memory(const std::string& message) {
    std::string low = message;
    std::transform(low.begin(), low.end(), low.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return low.find("memory") != std::string::npos || low.find("allocat") != std::string::npos;
}

namespace {

// "13.2" -> {13, 2}
std::vector<int> numbers(const std::string& version) {
    std::vector<int> found;
    for (std::size_t at = 0; at <= version.size();) {
        const std::size_t end = std::min(version.find('.', at), version.size());
        const std::string part = version.substr(at, end - at);
        const bool digits =
            !part.empty() && part.size() < 9 && part.find_first_not_of("0123456789") == std::string::npos;
        if (digits) found.push_back(std::stoi(part));
        at = end + 1;
    }
    return found;
}

// Of the same major version, see odise_trt/backends/engine_mismatch.py.
bool is_later(const std::string& version, const std::string& built) {
    const std::vector<int> now = numbers(version), then = numbers(built);
    return !now.empty() && !then.empty() && now[0] == then[0] && now >= then;
}

}  // namespace

std::string engine_mismatch(const BackendInfo& built, const std::string& version, const DeviceInfo& gpu) {
    // A package of Python can be a later one of the same library: "10.14.1.48.post1".
    const bool same = built.version.substr(0, built.version.find(".post")) == version;
    if (!same && !(built.is_compatible("version") && is_later(version, built.version))) {
        const std::string said = built.version.empty() ? "None" : built.version;  // As Python puts it.
        return "built by " + built.name + " " + said + ", this is " + version;
    }
    const auto& architectures = built.compute_capability;
    const bool runs = built.is_compatible("hardware") && numbers(gpu.compute_capability) >= std::vector<int>{8, 0};
    if (!architectures.empty() && !runs &&
        std::find(architectures.begin(), architectures.end(), gpu.compute_capability) == architectures.end()) {
        return "built for compute capability " + joined(architectures) + ", " + gpu.name + " has " +
               gpu.compute_capability;
    }
    // Newer drivers run older engines. Older drivers may lack functions that the engine calls.
    if (!built.driver.empty() && numbers(gpu.driver) < numbers(built.driver)) {
        return "built with a driver for CUDA " + built.driver + ", this one is for CUDA " + gpu.driver;
    }
    if (!built.os.empty() && built.os != host_os()) return "built for " + built.os + ", this is " + host_os();
    return {};
}

}  // namespace odise

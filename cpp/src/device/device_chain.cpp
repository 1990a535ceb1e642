#include "device_chain.hpp"

#include <algorithm>
#include <chrono>
#include <limits>

#include "run/steps.hpp"

namespace odise {

namespace {

// Sizes of pictures whose vectors stay on the device.
constexpr std::size_t most_sizes = 8;
constexpr const char* picture_name = "picture.picture";

// The tensors of the host that the steps of a job take.
std::vector<std::string> taken_by(const std::vector<const Step*>& steps) {
    std::vector<std::string> names;
    for (const Step* step : steps) {
        for (const auto& [_, wiring] : step->inputs) names.push_back(wiring);
    }
    return names;
}

Arrays only(const std::vector<std::string>& names, const Arrays& arrays) {
    Arrays found;
    for (const auto& [name, array] : arrays) {
        if (std::find(names.begin(), names.end(), name) != names.end()) found[name] = array;
    }
    return found;
}

std::string name_of(const PictureSize& size, const std::vector<std::string>& taken) {
    std::string name;
    for (const Size& one : {size.picture, size.padded, size.output}) {
        name += std::to_string(one.height) + "x" + std::to_string(one.width) + " ";
    }
    for (const std::string& one : taken) name += one + " ";
    return name;
}

}  // namespace

struct DeviceChain::Parts {
    Engines engines;
    std::unique_ptr<DeviceEngine> resize;
    Slot slot;
    Residents sizes;
    std::unique_ptr<Resident> vocabulary;
    std::shared_ptr<const Table> table;  // of the vocabulary
    Programs programs;
    PictureOnDevice picture;

    Parts(const Bundle& bundle, DeviceBackend& backend, Engines opened, std::unique_ptr<DeviceEngine> resizer,
          const AtOnce& at_once)
        : engines(std::move(opened)),
          resize(std::move(resizer)),
          slot(*backend.device()),
          sizes(most_sizes),
          programs(bundle.manifest, engines, backend, at_once),
          picture(bundle, *backend.device(), resize.get()) {}
};

DeviceChain::DeviceChain(const Bundle& bundle, DeviceBackend& backend, std::int64_t windows_at_once)
    : bundle_(bundle), backend_(backend), device_(backend.device()) {
    const Current current(*device_);
    Engines engines;
    for (const StageEntry* entry : largest_first(bundle)) {
        engines[entry->spec.name] = backend.open_on_device(bundle, *entry);
    }
    std::unique_ptr<DeviceEngine> resize;
    for (const StageEntry& entry : bundle.manifest.stages) {
        if (entry.spec.name == resize_stage) resize = backend.open_on_device(bundle, entry);
    }
    const AtOnce at_once{windows_at_once, std::numeric_limits<std::int64_t>::max()};
    parts_ = std::make_unique<Parts>(bundle, backend, std::move(engines), std::move(resize), at_once);
}

DeviceChain::~DeviceChain() {
    try {
        const Current current(*device_);
        parts_.reset();
    } catch (const Error&) {
        // At the end of a process the driver may be gone, and all its memory with it.
    }
}

void DeviceChain::check(const Pixels& pixels, const Size& wanted) {
    const Current current(*device_);
    parts_->picture.check(pixels, wanted);
}

Engine& DeviceChain::engine(const std::string& stage) {
    auto& engine = parts_->engines[stage];
    if (!engine) {
        const Current current(*device_);
        engine = backend_.open_on_device(bundle_, bundle_.manifest.stage(stage));
    }
    return *engine;
}

Array DeviceChain::to_host(const Pixels& pixels) {
    const Current current(*device_);
    parts_->picture.check(pixels, pixels.size);
    const Array picture = Array::empty(Dtype::uint8, {pixels.size.height, pixels.size.width, 3});
    try {
        parts_->picture.download(pixels, picture);
    } catch (const Error&) {
        // What is queued already writes to memory that ends here.
        device_->synchronize();
        throw;
    }
    device_->synchronize();
    return picture;
}

DeviceMade DeviceChain::run(const DeviceJob& job, Timings& timings) {
    const Current current(*device_);
    const auto start = std::chrono::steady_clock::now();
    const auto seconds = [](auto from, auto to) { return std::chrono::duration<double>(to - from).count(); };
    DeviceMade made;
    try {
        const Ready ready = queue(job, made);
        const auto queued = std::chrono::steady_clock::now();
        timings.emplace_back("queue", seconds(start, queued));
        device_->synchronize();
        timings.emplace_back("wait", seconds(queued, std::chrono::steady_clock::now()));
        made.arrays = parts_->slot.read(ready.plan->reads, job.stay);
        if (const std::string reduced = ready.plan->reduced(); !reduced.empty()) {
            made.note = "the GPU has little free memory: " + reduced + " run at once, fewer than it could";
        }
    } catch (...) {
        // What is queued must not meet what comes next.
        try {
            device_->synchronize();
        } catch (const Error&) {
            // The first error tells why.
        }
        throw;
    }
    if (const std::string& refusal = parts_->programs.refusal(); !refusal.empty()) {
        made.note += (made.note.empty() ? "" : "; ") + ("CUDA graphs are not used: " + refusal);
    }
    parts_->picture.arrived();
    parts_->sizes.erase_if([](const auto& one) {
        one->arrived();
        return false;
    });
    if (parts_->vocabulary) parts_->vocabulary->arrived();
    return made;
}

// Queues a picture's upload, steps and download. With less at once, if memory runs out meanwhile.
Ready DeviceChain::queue(const DeviceJob& job, DeviceMade& made) {
    const std::vector<std::string> taken = taken_by(needed_steps(bundle_.manifest, job.tasks, job.reads));
    Arrays own = only(taken, job.request);
    // The picture is the last, wherever it comes from: the same program takes both.
    Packed takes;
    for (const auto& [name, array] : own) takes.add(name, array.dtype, array.shape);
    const DeviceTensor resized{0, Dtype::uint8, {job.size.picture.height, job.size.picture.width, 3}};
    takes.add(picture_name, resized.dtype, resized.shape);
    if (job.there == nullptr) own[picture_name] = job.picture;
    for (;;) {
        const std::vector<const Resident*> there = shared(job, taken);
        const std::size_t scratch = job.there == nullptr ? 0 : parts_->picture.scratch(*job.there, resized);
        Ready ready = parts_->programs.ready({job.tasks, job.reads, takes, there, scratch}, parts_->slot);
        try {
            parts_->slot.upload(takes, own);
            if (job.there != nullptr) parts_->picture.queue(*job.there, ready.own.at(picture_name));
            parts_->programs.queue(ready);
            for (const std::string& name : job.stay) {
                if (ready.own.count(name) == 0) continue;  // These tasks do not make it.
                const DeviceTensor& map = ready.own.at(name);
                auto memory = std::make_shared<DeviceMemory>(device_, map.bytes());
                device_->copy(memory->address(), map.address, map.bytes());
                made.maps[name] = std::move(memory);
            }
            parts_->slot.download(ready.plan->reads, job.stay);
            return ready;
        } catch (const DeviceMemoryError&) {
            throw;
        } catch (const Error& error) {
            if (!is_about_memory(error.what()) || !parts_->programs.take_less(*ready.plan)) throw;
            device_->synchronize();
            made.maps.clear();
        }
    }
}

// The vectors of the picture's size, and the vocabulary, on the device.
std::vector<const Resident*> DeviceChain::shared(const DeviceJob& job, const std::vector<std::string>& taken) {
    const std::string name = name_of(job.size, taken);
    const auto* vectors = parts_->sizes.find(name);
    if (vectors == nullptr) {
        vectors =
            &parts_->sizes.put(name, std::make_unique<Resident>(*device_, only(taken, picture_tensors(job.size))));
    }
    std::vector<const Resident*> found = {vectors->get()};
    if (job.table) {
        if (parts_->table != job.table) {
            const ModelSpec& model = bundle_.manifest.model;
            parts_->table.reset();
            parts_->vocabulary =
                std::make_unique<Resident>(*device_, vocabulary_tensors(*job.table, model.alpha, model.beta));
            parts_->table = job.table;
        }
        found.push_back(parts_->vocabulary.get());
    }
    return found;
}

}  // namespace odise

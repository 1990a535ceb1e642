// What tests in Python ask of the stand-in, beside the functions of libodise_trt.
#include "device.hpp"
#include "engine.hpp"
#ifdef ODISE_WITH_ONNXRUNTIME
#include "onnxruntime.hpp"
#endif

namespace {

using stand_in::machine;

[[maybe_unused]] const bool added = [] {
    odise::add_engine("stand_in", stand_in::open_stand_in);
#ifdef ODISE_WITH_ONNXRUNTIME
    odise::add_engine("onnxruntime_cuda", stand_in::open_onnxruntime);
#endif
    return true;
}();

stand_in::Gpu& gpu_of(odise::Address address) { return machine().gpus.at(machine().gpus[0].owns(address) ? 0 : 1); }

}  // namespace

extern "C" {

__attribute__((visibility("default"))) void odise_stand_in_reset(std::uint64_t memory) {
    stand_in::reset(static_cast<std::size_t>(memory));
}

__attribute__((visibility("default"))) void odise_stand_in_set(const char* what, const char* stage, double value) {
    const std::string kind = what;
    if (kind == "refuses") machine().refuses[stage] = "an allocation failed";
    if (kind == "works again") machine().refuses.erase(stage);
    if (kind == "crashes") machine().crashes.insert(stage);
    if (kind == "unrecordable") machine().unrecordable.insert(stage);
    if (kind == "fails when recorded") machine().fails_recorded.insert(stage);
    if (kind == "hungry") machine().hungry[stage] = value;
    if (kind == "no more runs") machine().no_more_runs = true;
    if (kind == "copies from the host") machine().copies_from_host = true;
    if (kind == "refits well") machine().refits.erase(stage);
    if (kind == "parser") machine().parser = stage;
    for (const char* one : {"no refitter", "no parser", "hides missing", "refuses weights", "silent"}) {
        if (kind == one) machine().refits[stage].insert(one);
    }
}

__attribute__((visibility("default"))) std::int64_t odise_stand_in_count(const char* what) {
    const std::string kind = what;
    const stand_in::Counts& counts = machine().counts;
    if (kind == "uploaded") return counts.uploaded;
    if (kind == "downloaded") return counts.downloaded;
    if (kind == "waits") return counts.waits;
    if (kind == "launches") return counts.launches;
    if (kind == "recorded") return counts.recorded;
    if (kind == "allocations") return counts.allocations;
    if (kind == "pinned") return counts.live_pinned;
    if (kind == "graphs") return counts.live_graphs;
    if (kind == "runs") return counts.runs;
    if (kind == "sessions") return counts.sessions;
    if (kind == "waited runs") return counts.waited_runs;
    if (kind == "refitted") return counts.refitted;
    if (kind == "used") return static_cast<std::int64_t>(machine().gpus[0].used() + machine().gpus[1].used());
    return -1;
}

// The first fault, or "".
__attribute__((visibility("default"))) const char* odise_stand_in_fault() {
    return machine().faults.empty() ? "" : machine().faults[0].c_str();
}

// Memory of another library, which fills it late, on a stream of its own. Rows: height, bytes of each, from one to the
// next. What lies between them is never written.
__attribute__((visibility("default"))) std::uint64_t odise_stand_in_picture(const std::uint8_t* pixels,
                                                                            std::int32_t gpu, std::uint64_t height,
                                                                            std::uint64_t row, std::uint64_t stride,
                                                                            void** stream) {
    stand_in::Gpu& one = machine().gpus.at(static_cast<std::size_t>(gpu));
    const odise::Address address = one.allocate(static_cast<std::size_t>(height * stride));
    const odise::Handle made = one.new_stream();
    std::vector<std::uint8_t> content(pixels, pixels + height * row);
    stand_in::Item item;
    item.accesses = {{address, static_cast<std::size_t>((height - 1) * stride + row), true}};
    item.run = [&one, address, content, height, row, stride] {
        for (std::uint64_t y = 0; y < height; ++y) one.write(address + y * stride, content.data() + y * row, row);
    };
    one.append(made, std::move(item));
    *stream = reinterpret_cast<void*>(made);
    return address;
}

// As another library frees its memory: after its own stream, and without asking anybody else's.
__attribute__((visibility("default"))) void odise_stand_in_free(std::uint64_t address, void* stream) {
    gpu_of(address).wait(reinterpret_cast<odise::Handle>(stream));
    try {
        gpu_of(address).free(address);
    } catch (const stand_in::Fault&) {
        // The machine keeps it.
    }
}

// Copies what is there now. 0: it is not all there.
__attribute__((visibility("default"))) int odise_stand_in_read(std::uint64_t address, void* to, std::uint64_t size) {
    try {
        const unsigned char* from = gpu_of(address).read(address, static_cast<std::size_t>(size));
        std::copy_n(from, size, static_cast<unsigned char*>(to));
        return 1;
    } catch (const stand_in::Fault&) {
        return 0;
    }
}

}  // extern "C"

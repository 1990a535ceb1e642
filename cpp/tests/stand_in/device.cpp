#include "device.hpp"

#include <cstring>

namespace stand_in {

namespace {

// CUDA's is 0 at first. Here it is none, so that work outside of odise::Current shows.
thread_local int current_gpu = -1;

using Lock = std::lock_guard<std::recursive_mutex>;

}  // namespace

Device::Device(int index) : index_(index) {
    const Lock lock(machine().mutex);
    if (index >= static_cast<int>(machine().gpus.size())) {
        throw odise::backend_error("there is no GPU " + std::to_string(index) + ": CUDA sees " +
                                   std::to_string(machine().gpus.size()));
    }
    info_ = {"stand-in " + std::to_string(index), "8.9", "13.0"};
    stream_ = gpu().new_stream();
}

void Device::check(bool recordable) {
    if (current_gpu != index_) throw Fault("work for a GPU while it is not the current one");
    if (is_recording_ && !recordable) {
        is_recording_ = false;
        throw odise::backend_error("CUDA: operation not permitted when stream is capturing");
    }
}

int Device::make_current() { return std::exchange(current_gpu, index_); }
void Device::restore(int former) noexcept { current_gpu = former; }

std::size_t Device::free_memory() {
    const Lock lock(machine().mutex);
    check(true);
    const std::size_t used = gpu().used();
    return used > machine().memory ? 0 : machine().memory - used;
}

Address Device::allocate(std::size_t size) {
    const Lock lock(machine().mutex);
    check();
    if (size > free_memory()) throw odise::DeviceMemoryError("CUDA: cudaMalloc failed: out of memory");
    ++machine().counts.allocations;
    return gpu().allocate(size);
}

void Device::free(Address address) noexcept {
    const Lock lock(machine().mutex);
    try {
        check();
        gpu().free(address);
    } catch (const std::exception&) {
        // The machine keeps faults.
    }
}

void* Device::allocate_pinned(std::size_t size) {
    const Lock lock(machine().mutex);
    check();
    ++machine().counts.live_pinned;
    auto* memory = new unsigned char[size];
    std::memset(memory, 0xFF, size);
    return memory;
}

void Device::free_pinned(void* memory) noexcept {
    const Lock lock(machine().mutex);
    --machine().counts.live_pinned;
    delete[] static_cast<unsigned char*>(memory);
}

void Device::queue(std::function<void()> run, std::vector<Access> accesses) {
    const Lock lock(machine().mutex);
    check(true);
    Item item;
    item.run = std::move(run), item.accesses = std::move(accesses);
    if (is_recording_) {
        recorded_.push_back(std::move(item));
    } else {
        gpu().append(stream_, std::move(item));
    }
}

void Device::upload(Address target, const void* source, std::size_t size) {
    machine().counts.uploaded += static_cast<std::int64_t>(size);
    if (is_recording_) copies_from_host_ = true;
    // Memory of the host is read late: it has to live until then.
    queue([=] { gpu().write(target, source, size); }, {{target, size, true}});
}

void Device::download(void* target, Address source, std::size_t size) {
    machine().counts.downloaded += static_cast<std::int64_t>(size);
    std::memset(target, 0xFF, size);  // What is there before the copy has run.
    queue([=] { std::memcpy(target, gpu().read(source, size), size); }, {{source, size, false}});
}

void Device::copy(Address target, Address source, std::size_t size) { copy_rows(target, size, source, size, size, 1); }

void Device::copy_rows(Address target, std::size_t target_pitch, Address source, std::size_t source_pitch,
                       std::size_t row, std::size_t rows) {
    if (row > target_pitch || row > source_pitch) throw Fault("rows are longer than what is from one to the next");
    const auto run = [=] {
        for (std::size_t y = 0; y < rows; ++y) {
            const unsigned char* from = gpu().read(source + y * source_pitch, row);
            gpu().write(target + y * target_pitch, std::vector<unsigned char>(from, from + row).data(), row);
        }
    };
    // What is between the rows counts as touched, too: it belongs to the same memory.
    queue(run, {{source, (rows - 1) * source_pitch + row, false}, {target, (rows - 1) * target_pitch + row, true}});
}

void Device::clear(Address address, std::size_t size) {
    queue([=] { gpu().write(address, std::vector<unsigned char>(size, 0).data(), size); }, {{address, size, true}});
}

void Device::synchronize() {
    const Lock lock(machine().mutex);
    check();
    ++machine().counts.waits;
    gpu().wait(stream_);
}

int Device::owner_of(Address address) {
    for (int index = 0; index < static_cast<int>(machine().gpus.size()); ++index) {
        if (machine().gpus[static_cast<std::size_t>(index)].owns(address)) return index;
    }
    return -1;
}

void Device::follow(Handle stream) {
    const Lock lock(machine().mutex);
    check();
    gpu().follow(stream_, stream);
}

void Device::begin_recording() {
    const Lock lock(machine().mutex);
    check();
    is_recording_ = true, copies_from_host_ = false;
    recorded_.clear();
}

Handle Device::end_recording(bool host_allowed) {
    const Lock lock(machine().mutex);
    check(true);
    if (!std::exchange(is_recording_, false)) throw odise::backend_error("CUDA: nothing was recorded");
    if (copies_from_host_ && !host_allowed) throw odise::backend_error("what was recorded copies from the host");
    const Handle made = 1 + static_cast<Handle>(machine().counts.recorded++);
    ++machine().counts.live_graphs;
    graphs_[made] = std::exchange(recorded_, {});
    return made;
}

void Device::launch(Handle graph) {
    const Lock lock(machine().mutex);
    check();
    ++machine().counts.launches;
    for (const Item& item : graphs_.at(graph)) gpu().append(stream_, item);
}

void Device::free_graph(Handle graph) noexcept {
    const Lock lock(machine().mutex);
    machine().counts.live_graphs -= static_cast<std::int64_t>(graphs_.erase(graph));
}

}  // namespace stand_in

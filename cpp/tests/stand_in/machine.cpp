#include "machine.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

namespace stand_in {

namespace {

// Float NaN, and far outside of every index.
constexpr unsigned char poison = 0xFF;
// Addresses are never used again, so that what was freed is found.
constexpr std::size_t space = std::size_t{1} << 37;
constexpr std::size_t page = 4096;

unsigned char* pointer(Address address) {
    return reinterpret_cast<unsigned char*>(static_cast<std::uintptr_t>(address));
}

void learn(Clock& clock, const Clock& other) {
    for (const auto& [stream, number] : other) {
        auto& known = clock[stream];
        known = std::max(known, number);
    }
}

std::size_t at(const Clock& clock, Handle stream) {
    const auto found = clock.find(stream);
    return found == clock.end() ? 0 : found->second;
}

}  // namespace

Machine& machine() {
    static Machine one;
    if (one.gpus.empty()) {
        for (int index : {0, 1}) one.gpus.emplace_back(index);
    }
    return one;
}

void reset(std::size_t memory) {
    Machine& one = machine();
    one.gpus.clear();
    one.counts = {};
    one.faults.clear(), one.refuses.clear(), one.crashes.clear(), one.unrecordable.clear(), one.hungry.clear();
    one.fails_recorded.clear(), one.refits.clear();
    one.parser = Machine().parser;
    one.has_error = one.no_more_runs = one.copies_from_host = false;
    one.memory = memory;
}

Fault::Fault(const std::string& what) : std::logic_error(what) { machine().faults.push_back(what); }

Space::Space() {
    void* const made = mmap(nullptr, space, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (made == MAP_FAILED) throw std::bad_alloc();
    start_ = reinterpret_cast<std::uintptr_t>(made);
}

Space::~Space() { munmap(pointer(start_), space); }

bool Space::holds(Address address) const { return address >= start_ && address - start_ < space; }

void Space::open(Address address, std::size_t size, bool usable) const {
    const std::size_t pages = (size + page - 1) / page * page;
    if (!usable) madvise(pointer(address), pages, MADV_DONTNEED);
    if (mprotect(pointer(address), pages, usable ? PROT_READ | PROT_WRITE : PROT_NONE) != 0) throw std::bad_alloc();
}

std::size_t Gpu::used() const {
    std::size_t sum = 0;
    for (const auto& [_, one] : live_) sum += one.written.size();
    return sum;
}

Address Gpu::allocate(std::size_t size) {
    if (size == 0) throw Fault("an allocation of 0 bytes");
    const Address start = next_;
    next_ += (size / page + 2) * page;
    if (!owns(next_)) throw Fault("the addresses of a GPU are used up");
    space_->open(start, size, true);
    std::fill_n(pointer(start), size, poison);
    live_[start] = {std::vector<unsigned char>(size, 0), {}};
    return start;
}

void Gpu::free(Address address) {
    const auto found = live_.find(address);
    if (found == live_.end()) throw Fault("freed what is no allocation");
    for (const Access& access : found->second.accesses) {
        if (access.number > at(host_, access.stream)) throw Fault("freed memory while queued work uses it");
    }
    space_->open(address, found->second.written.size(), false);
    live_.erase(found);
}

const Allocation& Gpu::find(Address address, std::size_t size, std::size_t& offset) const {
    auto found = live_.upper_bound(address);
    if (found != live_.begin()) {
        --found;
        offset = static_cast<std::size_t>(address - found->first);
        if (offset + size <= found->second.written.size()) return found->second;
    }
    throw Fault(std::to_string(size) + " bytes that nobody allocated, or that were freed");
}

Allocation& Gpu::find(Address address, std::size_t size, std::size_t& offset) {
    return const_cast<Allocation&>(static_cast<const Gpu*>(this)->find(address, size, offset));
}

const unsigned char* Gpu::read(Address address, std::size_t size) const {
    std::size_t offset = 0;
    const Allocation& one = find(address, size, offset);
    if (size > 0 && std::memchr(&one.written[offset], 0, size) != nullptr) {
        throw Fault("read " + std::to_string(size) + " bytes that were never written");
    }
    return pointer(address);
}

void Gpu::write(Address address, const void* content, std::size_t size) {
    wrote(address, size);
    std::memcpy(pointer(address), content, size);
}

void Gpu::wrote(Address address, std::size_t size) {
    std::size_t offset = 0;
    Allocation& one = find(address, size, offset);
    std::fill_n(one.written.begin() + static_cast<std::ptrdiff_t>(offset), size, static_cast<unsigned char>(1));
}

void Gpu::spoil(Address address, std::size_t size) {
    std::size_t offset = 0;
    Allocation& one = find(address, size, offset);
    std::fill_n(pointer(address), size, poison);
    std::fill_n(one.written.begin() + static_cast<std::ptrdiff_t>(offset), size, static_cast<unsigned char>(0));
}

Handle Gpu::new_stream() {
    const Handle made = 100 + static_cast<Handle>(index_) * 1000 + streams_.size();
    streams_[made] = {};
    return made;
}

void Gpu::append(Handle stream, Item item) {
    Stream& one = streams_.at(stream);
    const std::size_t number = one.items.size() + 1;
    Clock clock = one.clock;
    learn(clock, host_);
    clock[stream] = number;
    for (Access& access : item.accesses) access.stream = stream, access.number = number;
    claim(item.accesses, clock);
    one.clock = std::move(clock);
    one.items.push_back(std::move(item));
}

void Gpu::follow(Handle stream, Handle other) {
    const auto found = streams_.find(other);
    if (found == streams_.end()) throw Fault("there is no such stream");
    Item item;
    item.waits_for = other, item.until = found->second.items.size();
    append(stream, std::move(item));
    learn(streams_.at(stream).clock, found->second.clock);
}

void Gpu::claim(const std::vector<Access>& accesses, const Clock& clock) {
    for (const Access& access : accesses) {
        std::size_t offset = 0;
        for (const Access& old : find(access.start, access.size, offset).accesses) {
            const bool overlap = old.start < access.stop() && access.start < old.stop();
            const bool is_before = old.number <= std::max(at(clock, old.stream), at(host_, old.stream));
            if (overlap && (old.writes || access.writes) && !is_before) {
                throw Fault("two streams use the same bytes at the same time");
            }
        }
    }
    for (const Access& access : accesses) {
        std::size_t offset = 0;
        auto& known = find(access.start, access.size, offset).accesses;
        const auto is_over = [&](const Access& old) { return old.number <= at(host_, old.stream); };
        known.erase(std::remove_if(known.begin(), known.end(), is_over), known.end());
        known.push_back(access);
    }
}

void Gpu::reach(Handle stream, std::size_t number) {
    Stream& one = streams_.at(stream);
    while (one.done < number) {
        const Item item = std::exchange(one.items[one.done], {});
        ++one.done;
        if (item.waits_for != 0) reach(item.waits_for, item.until);
        if (item.run && broken_.empty()) item.run();
    }
}

void Gpu::wait(Handle stream) {
    Stream& one = streams_.at(stream);
    const std::size_t number = one.items.size();
    while (one.done < number) {
        try {
            reach(stream, number);
        } catch (const odise::Error& error) {
            broken_ = error.what();
        }
    }
    learn(host_, one.clock);
    if (!broken_.empty()) throw odise::backend_error(broken_);
}

}  // namespace stand_in

// A stand-in for GPUs, for tests on machines without one. Streams run as late as they can, and what CUDA leaves
// undefined is an error: addresses outside an allocation, memory that was freed or never written, and work on two
// streams that touches the same bytes without an order. See tests/stand_in, which does this for Python.
#pragma once

#include <functional>
#include <mutex>
#include <set>
#include <vector>

#include "device/tensor.hpp"

namespace stand_in {

using odise::Address;
using odise::Handle;

// The library did what CUDA leaves undefined. It is no odise::Error: nothing may take it for one of a library.
struct Fault : std::logic_error {
    explicit Fault(const std::string& what);
};

// Stream -> how many of its items have happened before.
using Clock = std::map<Handle, std::size_t>;

// Bytes that one item of a stream reads or writes.
struct Access {
    Address start;
    std::size_t size;
    bool writes;
    Handle stream = 0;
    std::size_t number = 0;

    Address stop() const { return start + size; }
};

// Something queued on a stream: work, or a wait for an item of another stream.
struct Item {
    std::function<void()> run;
    std::vector<Access> accesses;
    Handle waits_for = 0;
    std::size_t until = 0;
};

struct Stream {
    std::vector<Item> items;
    std::size_t done = 0;
    Clock clock;  // what is known to happen before its next item
};

struct Allocation {
    std::vector<unsigned char> written;  // for each byte, whether it was
    std::vector<Access> accesses;
};

// The addresses of a GPU. What is allocated there is memory of this process, so that a library that takes pointers can
// run on it; all else cannot be touched.
class Space {
  public:
    Space();
    Space(const Space&) = delete;
    Space& operator=(const Space&) = delete;
    ~Space();

    Address start() const { return start_; }
    bool holds(Address address) const;
    // Lets whole pages be used, or no more.
    void open(Address address, std::size_t size, bool usable) const;

  private:
    Address start_;
};

// One GPU: its memory, and all streams on it.
class Gpu {
  public:
    explicit Gpu(int index) : index_(index), space_(std::make_unique<Space>()), next_(space_->start()) {}

    bool owns(Address address) const { return space_->holds(address); }
    std::size_t used() const;
    Address allocate(std::size_t size);
    // Throws Fault while queued work uses it.
    void free(Address address);
    // All bytes were written before.
    const unsigned char* read(Address address, std::size_t size) const;
    void write(Address address, const void* content, std::size_t size);
    // Says that a library wrote it.
    void wrote(Address address, std::size_t size);
    // What scratch memory is after its use.
    void spoil(Address address, std::size_t size);

    Handle new_stream();
    void append(Handle stream, Item item);
    // Lets `stream` wait for what `other` has to do now.
    void follow(Handle stream, Handle other);
    // Lets the host wait. An error of the work comes again with every wait, like CUDA's.
    void wait(Handle stream);

  private:
    int index_;
    std::unique_ptr<Space> space_;
    Address next_;
    std::map<Address, Allocation> live_;
    std::map<Handle, Stream> streams_;
    Clock host_;
    std::string broken_;

    const Allocation& find(Address address, std::size_t size, std::size_t& offset) const;
    Allocation& find(Address address, std::size_t size, std::size_t& offset);
    void claim(const std::vector<Access>& accesses, const Clock& clock);
    void reach(Handle stream, std::size_t number);
};

struct Counts {
    std::int64_t uploaded = 0, downloaded = 0, waits = 0, launches = 0, recorded = 0, allocations = 0;
    std::int64_t live_pinned = 0, live_graphs = 0, runs = 0;
    std::int64_t sessions = 0, waited_runs = 0;  // of ONNX Runtime
    std::int64_t refitted = 0;                   // engines that were given weights
};

// A machine with two GPUs, and what goes wrong on it.
struct Machine {
    std::recursive_mutex mutex;
    std::vector<Gpu> gpus;
    std::size_t memory = std::size_t{1} << 31;  // bytes of each GPU
    Counts counts;
    std::vector<std::string> faults;
    std::map<std::string, std::string> refuses;   // stage -> what it says instead of being queued
    std::set<std::string> crashes, unrecordable;  // stages
    std::map<std::string, double> hungry;         // stage -> scratch bytes per byte of its outputs
    std::set<std::string> fails_recorded;         // stages whose runs cannot be recorded, which shows only then
    bool has_error = false;                       // of a call, which the next call reports once more
    bool no_more_runs = false;                    // whether ONNX Runtime has no memory left
    bool copies_from_host = false;                // whether it does so in every run
    std::string parser = "libodise_stand_in_parser.so";
    std::map<std::string, std::set<std::string>> refits;  // stage -> what goes wrong when it is given weights
};

Machine& machine();
void reset(std::size_t memory);

}  // namespace stand_in

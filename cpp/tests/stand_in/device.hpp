#pragma once

#include "device/device.hpp"
#include "machine.hpp"

namespace stand_in {

// A GPU of the machine with a stream of its own, as CUDA's runtime gives it.
class Device : public odise::Device {
  public:
    explicit Device(int index);

    const odise::DeviceInfo& info() const override { return info_; }
    int index() const override { return index_; }
    Handle stream() const override { return stream_; }
    int make_current() override;
    void restore(int former) noexcept override;
    std::size_t free_memory() override;
    Address allocate(std::size_t size) override;
    void free(Address address) noexcept override;
    void* allocate_pinned(std::size_t size) override;
    void free_pinned(void* memory) noexcept override;
    void upload(Address target, const void* source, std::size_t size) override;
    void download(void* target, Address source, std::size_t size) override;
    void copy(Address target, Address source, std::size_t size) override;
    void copy_rows(Address target, std::size_t target_pitch, Address source, std::size_t source_pitch, std::size_t row,
                   std::size_t rows) override;
    void clear(Address address, std::size_t size) override;
    void synchronize() override;
    int owner_of(Address address) override;
    void follow(Handle stream) override;
    void begin_recording() override;
    Handle end_recording(bool host_allowed) override;
    void launch(Handle graph) override;
    void free_graph(Handle graph) noexcept override;

    bool is_recording() const { return is_recording_; }
    // Queues work that touches these bytes.
    void queue(std::function<void()> run, std::vector<Access> accesses);
    Gpu& gpu() { return machine().gpus.at(static_cast<std::size_t>(index_)); }

  private:
    int index_;
    odise::DeviceInfo info_;
    Handle stream_ = 0;
    bool is_recording_ = false;
    bool copies_from_host_ = false;  // what is recorded
    std::vector<Item> recorded_;
    std::map<Handle, std::vector<Item>> graphs_;

    // Throws Fault unless this is the thread's current GPU. `recordable`: graphs can hold it.
    void check(bool recordable = false);
};

}  // namespace stand_in

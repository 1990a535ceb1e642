#include "check.hpp"
#include "device.hpp"
#include "device/arena.hpp"
#include "device/recent.hpp"

using odise::Block;

namespace {

odise::StageSpec stage(const std::string& name, std::vector<odise::Tensor> inputs, std::vector<odise::Tensor> outputs) {
    odise::StageSpec spec;
    spec.name = name;
    spec.inputs = std::move(inputs), spec.outputs = std::move(outputs);
    spec.axes = {{"rows", {1, 8, 64}, 1}};
    return spec;
}

}  // namespace

int main() {
    {
        // Two that never live at the same time share memory; one that meets both does not.
        const odise::Arena arena = odise::place({{"a", 1000, 0, 1}, {"b", 300, 1, 3}, {"c", 900, 2, 3}});
        CHECK_EQUAL(arena.offsets.at("a"), 0UL);
        CHECK_EQUAL(arena.offsets.at("c"), 0UL);
        CHECK_EQUAL(arena.offsets.at("b"), 1024UL);
        CHECK_EQUAL(arena.bytes, 1024UL + 512UL);
        CHECK_EQUAL(arena.least, 1024UL + 512UL);
    }
    {
        // A gap is used: "d" fits between the two that live all the time.
        const odise::Arena arena =
            odise::place({{"a", 512, 0, 9}, {"b", 512, 0, 1}, {"c", 512, 0, 9}, {"d", 256, 5, 6}});
        CHECK(arena.offsets.at("d") < arena.bytes - 256);
        CHECK_EQUAL(arena.bytes, 1536UL);
    }
    {
        // A carried output has a second memory, and parts of 10 rows of 3 bytes are not aligned: they have another.
        const odise::Tensor rows{"rows", odise::Dtype::uint8, {{0, "rows", 1}, {3, "", 1}}};
        const odise::Tensor so_far{"so_far", odise::Dtype::float32, {{5, "", 1}}};
        odise::Tensor sum = so_far, out = rows;
        sum.name = "sum", out.name = "out";
        const odise::StageSpec spec = stage("s", {rows, so_far}, {out, sum});
        odise::Step step;
        step.stage = "s", step.repeat = "rows", step.inputs = {{"rows", "picture.rows"}};
        step.carried = {{"sum", "so_far"}};
        const odise::SizedStep sized{&step, &spec, {{"rows", 20}}};
        std::map<std::string, std::size_t> sizes;
        for (const Block& block : odise::lifetimes({sized}, {{"s", 10}}, {})) sizes[block.name] = block.bytes;
        CHECK_EQUAL(sizes.size(), 5UL);
        CHECK_EQUAL(sizes.at("s.out"), 60UL);
        CHECK_EQUAL(sizes.at("s.so_far"), 20UL);
        CHECK_EQUAL(sizes.at("s.rows part"), 30UL);
        CHECK_EQUAL(sizes.at("s.out part"), 30UL);
        CHECK_EQUAL(odise::lifetimes({sized}, {{"s", 20}}, {{"s.out", {20, 3}}}).size(), 2UL);
    }
    {
        odise::Recent<int> recent(2);
        recent.put("a", 1), recent.put("b", 2);
        CHECK_EQUAL(*recent.find("a"), 1);
        recent.put("c", 3);
        CHECK(recent.find("b") == nullptr);
        CHECK_EQUAL(*recent.find("a"), 1);
    }
    // The stand-in finds what CUDA leaves undefined.
    stand_in::reset(1 << 20);
    auto device = std::make_shared<stand_in::Device>(0);
    unsigned char bytes[512] = {7}, back[512];
    CHECK_EQUAL(WORDS_OF(device->allocate(1)), "work for a GPU while it is not the current one");
    const odise::Current current(*device);
    const odise::Address memory = device->allocate(512);
    {
        CHECK(WORDS_OF(device->allocate(1 << 20)).find("out of memory") != std::string::npos);
        device->download(back, memory, 512);
        CHECK_EQUAL(WORDS_OF(device->synchronize()), "read 512 bytes that were never written");
        device->upload(memory, bytes, 512);
        bytes[0] = 8;  // The copy is late.
        device->download(back, memory, 512);
        CHECK_EQUAL(int{back[0]}, 255);
        device->synchronize();
        CHECK_EQUAL(int{back[0]}, 8);
        CHECK_EQUAL(WORDS_OF(device->copy(memory + 1, memory, 512)),
                    "512 bytes that nobody allocated, or that were freed");
    }
    {
        // Another stream that writes what ours reads has to be followed.
        stand_in::Device other(0);
        other.clear(memory, 512);
        CHECK_EQUAL(WORDS_OF(device->download(back, memory, 512)), "two streams use the same bytes at the same time");
        device->follow(other.stream());
        device->download(back, memory, 512);
        const std::size_t faults = stand_in::machine().faults.size();
        device->free(memory);
        CHECK_EQUAL(stand_in::machine().faults.size(), faults + 1);
        device->synchronize();
        CHECK_EQUAL(int{back[0]}, 0);
    }
    {
        // What is recorded runs when it is launched, as often as wanted.
        device->begin_recording();
        device->upload(memory, bytes, 512);
        CHECK(WORDS_OF(device->allocate(1)).find("not permitted") != std::string::npos);
        CHECK_EQUAL(WORDS_OF(device->end_recording(true)), "CUDA: nothing was recorded");
        device->begin_recording();
        device->upload(memory, bytes, 512);
        const odise::Handle graph = device->end_recording(true);
        device->synchronize();
        bytes[0] = 9;
        device->launch(graph);
        device->download(back, memory, 512);
        device->synchronize();
        CHECK_EQUAL(int{back[0]}, 9);
        device->free_graph(graph);
        device->free(memory);
        CHECK_EQUAL(stand_in::machine().gpus[0].used(), 0UL);
    }
    return failures > 0;
}

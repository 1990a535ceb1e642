// Any sizes of a picture: strides, shapes, positions.
#include "picture/axis_map.hpp"
#include "picture/resize.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 12) return 0;
    const auto number = [&](std::size_t at) { return std::int64_t{data[at]} * 256 + data[at + 1]; };
    // Sides up to 65535 for the size that results; small ones for pixels.
    const odise::Size whole{number(0) + 1, number(2) + 1};
    const odise::Size to = odise::shortest_size(whole, number(4) % 2048 + 1, number(6) % 4096 + 1);
    if (to.height < 1 || to.width < 1 || std::max(to.height, to.width) > number(6) % 4096 + 1) __builtin_trap();
    const odise::Size small{data[8] % 64 + 1, data[9] % 64 + 1}, out{data[10] % 64 + 1, data[11] % 64 + 1};
    const std::int64_t stride = 3 * small.width + data[8] % 5;
    const std::vector<std::uint8_t> pixels(static_cast<std::size_t>(stride * small.height), data[size - 1]);
    const odise::Array made = odise::resized({pixels.data(), small, stride, (data[0] & 1) != 0}, out);
    // A picture of one colour keeps it.
    for (std::size_t i = 0; i < made.count(); ++i) {
        if (made.data()[i] != data[size - 1]) __builtin_trap();
    }
    const auto map =
        odise::AxisMap::bilinear(small.height, out.height).then(odise::AxisMap::bilinear(out.height, out.width));
    for (const auto one : map.index) {
        if (one < 0 || one >= small.height) __builtin_trap();
    }
    return 0;
}

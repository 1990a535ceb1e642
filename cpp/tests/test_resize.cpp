#include "check.hpp"
#include "picture/resize.hpp"

using odise::Pixels;
using odise::resized;
using odise::shortest_size;

// tests/cpp compares hundreds of sizes with Pillow. These were worked out by hand.
int main() {
    const std::uint8_t row[] = {0, 10, 20, 100, 110, 120};
    // Two pixels to one: their mean. To four: 1/4 of the way, 3/4 of the way.
    const auto one = resized({row, {1, 2}, 6, false}, {1, 1});
    CHECK_EQUAL(int{one.data()[0]}, 50);
    const auto four = resized({row, {1, 2}, 6, false}, {1, 4});
    CHECK_EQUAL(int{four.data()[0]}, 0);
    CHECK_EQUAL(int{four.data()[3]}, 25);
    CHECK_EQUAL(int{four.data()[6]}, 75);
    CHECK_EQUAL(int{four.data()[9]}, 100);
    // BGR, and rows from the last to the first.
    const std::uint8_t rows[] = {1, 2, 3, 99, 99, 4, 5, 6, 99, 99};
    const auto turned = resized({rows + 5, {2, 1}, -5, true}, {2, 1});
    CHECK_EQUAL(int{turned.data()[0]}, 6);
    CHECK_EQUAL(int{turned.data()[3]}, 3);

    const auto size = [](std::int64_t height, std::int64_t width) {
        const auto found = shortest_size({height, width}, 256, 640);
        return std::to_string(found.height) + "x" + std::to_string(found.width);
    };
    CHECK_EQUAL(size(512, 512), "256x256");
    CHECK_EQUAL(size(400, 600), "256x384");
    CHECK_EQUAL(size(100, 1000), "64x640");
    CHECK_EQUAL(size(1, 30000), "1x640");
    return failures > 0;
}

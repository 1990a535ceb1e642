#include "check.hpp"
#include "picture/axis_map.hpp"
#include "picture/vectors.hpp"
#include "vocabulary/table.hpp"

using odise::AxisMap;
using odise::Grid;

// tests/cpp compares all vectors with Python's. These were worked out by hand.
int main() {
    // Two elements to four: at -0.25 (so 0), 0.25, 0.75 and 1.25 (behind the last).
    const AxisMap map = AxisMap::bilinear(2, 4);
    CHECK_EQUAL(map.weight[2], 0.75);
    CHECK_EQUAL(map.weight[3], 0.25);
    CHECK_EQUAL(map.index[6], 1);
    CHECK_EQUAL(map.index[7], 1);
    // And back to two: the mean of a half each.
    const AxisMap both = map.then(AxisMap::bilinear(4, 2)).merged();
    CHECK_EQUAL(both.taps, 4UL);
    CHECK_EQUAL(both.weight[0], 0.875);
    CHECK_EQUAL(both.weight[1], 0.125);
    CHECK_EQUAL(both.weight[2], 0.0);

    const Grid grid = Grid::over({128, 320}, 128);
    CHECK_EQUAL(grid.corners.size(), 3UL);
    CHECK_EQUAL(grid.corners[2].second, 192);  // Shifted back to the border.

    const odise::Array rows = odise::Array::of(odise::Dtype::float32, {2, 2}, std::vector<float>{3, 4, 0, 0});
    const odise::Array unit = odise::unit(rows);
    CHECK_EQUAL(unit.as<float>()[0], 0.6F);
    CHECK_EQUAL(unit.as<float>()[3], 0.0F);

    CHECK_EQUAL(odise::from_half(0x3C00), 1.0F);
    CHECK_EQUAL(odise::from_half(0xC100), -2.5F);
    CHECK_EQUAL(odise::from_half(0x0001), 0x1p-24F);  // The smallest number.
    CHECK_EQUAL(odise::from_half(0x7BFF), 65504.0F);
    CHECK_EQUAL(odise::from_half(0xFC00), -std::numeric_limits<float>::infinity());
    CHECK(std::isnan(odise::from_half(0x7E00)));
    return failures > 0;
}

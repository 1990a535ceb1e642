"""Colours of the categories of one picture differ from each other."""

from __future__ import annotations

from itertools import combinations

import pytest

from odise_trt.drawing.palette import distinct_colors


@pytest.mark.parametrize("count", range(2, 21))
def test_no_two_categories_of_a_picture_look_alike(count: int) -> None:
    for isthing in ([True] * count, [False] * count, [number % 2 == 0 for number in range(count)]):
        colors = distinct_colors(isthing)
        assert len(colors) == count
        nearest = min(
            sum(abs(a - b) for a, b in zip(one, other, strict=True)) for one, other in combinations(colors, 2)
        )
        assert nearest >= 35


@pytest.mark.parametrize("count", [0, 1, 2, 133])
def test_any_number_of_categories_gets_colours(count: int) -> None:
    assert len(set(distinct_colors([True] * count))) == count

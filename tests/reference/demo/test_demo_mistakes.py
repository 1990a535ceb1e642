"""What the shipped model calls things, counted as `benchmarks.confusion` counts it."""

from __future__ import annotations

import pytest

from benchmarks.confusion import mistakes
from benchmarks.demo_models import load_demo
from reference.demo.scene_store import NOVEL
from reference.scenes import SCENE_VOCABULARY
from reference.scenes.held_out import held_out


def test_most_pixels_of_what_is_common_are_called_what_they_are() -> None:
    found = mistakes(load_demo("demo", "demo")[0], 4)
    for name, shares in found["called"].items():
        assert not shares or sum(shares.values()) == pytest.approx(1, abs=0.02), name
    assert found["called"]["sky"]["sky"] > 0.9

    novel = SCENE_VOCABULARY.names.index(NOVEL)
    scenes = held_out(4)
    there = sum(segment.category == novel for index in range(4) for segment in scenes[index].segments)
    assert found["covered"]["segments"] == there > 0
    assert found["covered"]["by a mask"] == sum(found["covered"]["said"].values())

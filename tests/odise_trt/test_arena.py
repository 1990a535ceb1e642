"""Memory between the steps: no two living tensors overlap, and little is wasted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from odise_trt.pipeline import Pipeline, Step
from odise_trt.pipeline.arena import ALIGNMENT, Block, lifetimes, place
from odise_trt.pipeline.sizes import size_steps
from tests.odise_trt.small_stage import spec


@st.composite
def blocks(draw: st.DrawFn) -> list[Block]:
    spans = draw(
        st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6), st.integers(1, 5000)), max_size=30)
    )
    return [Block(str(n), size, first, first + more) for n, (first, more, size) in enumerate(spans)]


@given(blocks())
def test_no_two_tensors_that_live_at_the_same_time_overlap(some: list[Block]) -> None:
    arena = place(some)
    for one in some:
        start = arena.offsets[one.name]
        assert start % ALIGNMENT == 0
        assert start + one.bytes <= arena.bytes
        for other in some:
            if other is not one and one.first <= other.last and other.first <= one.last:
                begin = arena.offsets[other.name]
                assert start + one.bytes <= begin or begin + other.bytes <= start


@given(blocks())
def test_an_arena_is_never_smaller_than_what_lives_at_once_nor_larger_than_everything(
    some: list[Block],
) -> None:
    arena = place(some)
    assert arena.least <= arena.bytes <= sum(one.room for one in some)


def test_tensors_that_never_meet_share_their_memory() -> None:
    chain = [Block(str(n), 1000, n, n + 1) for n in range(6)]
    assert place(chain).bytes == 2 * 1024


PIPELINE = Pipeline(
    (
        Step("double", {"x": "picture.x"}),
        Step("add", {"rows_in": "double.y", "one": "picture.one"}, repeat="rows", carried={"sum": "before"}),
        Step("last", {"rows_in": "add.rows_out", "sum": "add.sum"}),
    ),
    {
        "double": spec("double", {"x": ("height", 3)}, {"y": ("height", 3)}),
        "add": spec(
            "add",
            {"rows_in": ("rows", 3), "one": (1,), "before": (3,)},
            {"rows_out": ("rows", 3), "sum": (3,)},
        ),
        "last": spec("last", {"rows_in": ("height", 3), "sum": (3,)}, {"z": ("height", 3)}),
    },
)
GIVEN = {"picture.x": (100, 3), "picture.one": (1,)}


def test_sizes_go_from_step_to_step() -> None:
    PIPELINE.check()
    double, add, last = size_steps(PIPELINE, PIPELINE.steps, GIVEN)
    assert double.sizes == {"height": 100}
    assert add.runs_over == 100
    assert add.part(add.spec.inputs[0], 7) == (7, 3)
    assert add.part(add.spec.outputs[1], 7) == (3,)
    assert last.sizes == {"height": 100}


def test_a_tensor_lives_until_its_last_reader_and_a_carried_one_has_a_second_block() -> None:
    sized = size_steps(PIPELINE, PIPELINE.steps, GIVEN)
    found = {one.name: (one.bytes, one.first, one.last) for one in lifetimes(sized, {"add": 64}, ["last.z"])}
    assert found == {
        "double.y": (1200, 0, 1),
        "add.rows_out": (1200, 1, 2),
        "add.sum": (12, 1, 2),
        "add.before": (12, 1, 1),
    }


def test_parts_that_would_lie_between_aligned_addresses_get_a_place_of_their_own() -> None:
    sized = size_steps(PIPELINE, PIPELINE.steps, GIVEN)
    found = {one.name: one.bytes for one in lifetimes(sized, {"add": 7})}
    assert found["add.rows_in part"] == found["add.rows_out part"] == 7 * 3 * 4
    assert "add.rows_in part" not in {one.name for one in lifetimes(sized, {"add": 100})}

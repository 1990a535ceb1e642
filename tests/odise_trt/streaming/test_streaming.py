"""Many pictures through one segmenter: what calls one after the other would give, in order, and no more."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from itertools import takewhile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from odise_trt import (
    ArgumentError,
    BackendError,
    ImageError,
    Segmenter,
    VocabularyError,
)
from odise_trt.batch import find_images
from odise_trt.streaming import OpenStreams, Reader, Stream
from tests.odise_trt.streaming.parts import (
    COLOURS,
    LONG,
    WORDS,
    ReadAhead,
    Slow,
    colours_of,
    found,
    plain,
)
from tests.pages import Page


def test_results_are_those_of_calls_one_after_the_other(deep: Segmenter) -> None:
    images = [plain(n, 30 + n, 60) for n in range(8)]
    images[5][:, :20] = (0, 255, 0)
    streamed = list(deep.stream(images))
    assert [one.index for one in streamed] == list(range(8))
    for one, image in zip(streamed, images, strict=True):
        called = deep(image)
        assert one.source is image
        assert np.array_equal(one.result.panoptic, called.panoptic)
        assert one.result.segments == called.segments
        assert one.result.provenance == called.provenance
        assert one.result.timings.keys() == called.timings.keys()


def test_several_tasks_are_several_results(deep: Segmenter) -> None:
    (one,) = deep.stream([plain("green")], ("semantic", "instance"))
    assert list(one.results) == ["semantic", "instance"]
    assert one.result is one.results["semantic"]
    assert (one.result.semantic == 1).all()
    assert one.results["instance"].instances[0].name == "green"


def test_tasks_can_be_given_by_something_that_is_read_once(deep: Segmenter) -> None:
    images = [plain(n) for n in range(3)]
    assert [list(one.results) for one in deep.stream(images, iter(["semantic"]))] == [["semantic"]] * 3  # type: ignore[arg-type]


def test_thresholds_are_those_of_a_call(deep: Segmenter) -> None:
    (one,) = deep.stream([plain("red")], object_mask_threshold=1.0)
    assert one.result.segments == []
    assert not one.result.panoptic.any()


def test_files_are_read_and_named(deep: Segmenter, tmp_path: Path) -> None:
    paths = [tmp_path / f"{colour}.png" for colour in COLOURS]
    for path in paths:
        Image.fromarray(plain(path.stem)).save(path)
    streamed = list(deep.stream(paths))
    assert [found(one) for one in streamed] == [["red"], ["green"], ["blue"]]
    assert [one.result.source for one in streamed] == paths


def test_a_stack_of_pictures_is_many_pictures(deep: Segmenter) -> None:
    stack = np.stack([plain(n) for n in range(4)])
    assert colours_of(deep.stream(stack)) == [["red"], ["green"], ["blue"], ["red"]]


def test_tensors_are_pictures(deep: Segmenter) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(np.stack([plain(n) for n in range(3)]))
    assert colours_of(deep.stream(tensor)) == [["red"], ["green"], ["blue"]]
    with pytest.raises(ArgumentError, match=r"one array \(40, 60, 3\)"):
        deep.stream(tensor[0])


def test_names_in_an_array_are_many_pictures(deep: Segmenter, tmp_path: Path) -> None:
    Image.fromarray(plain("blue")).save(tmp_path / "a.png")
    assert colours_of(deep.stream(np.array([str(tmp_path / "a.png")] * 2))) == [["blue"]] * 2


def test_no_pictures_are_no_results(deep: Segmenter) -> None:
    stream = deep.stream([])
    assert list(stream) == []
    assert list(stream) == []


def test_an_endless_stream_is_asked_a_few_pictures_ahead(deep: Segmenter) -> None:
    asked = []

    def frames() -> Iterator[np.ndarray]:
        for number in itertools.count():
            asked.append(number)
            yield plain(number)

    depth, together = deep._chain.depth, deep._chain.together
    for one in deep.stream(frames()):
        # Those on their way or done with this one, those read ahead by as many threads, and one more.
        assert len(asked) <= one.index + 1 + (depth + 1) * together - 1 + max(depth + 1, together)
        if one.index == 20:
            break
    assert found(one) == ["blue"]


def test_nothing_is_read_before_it_is_asked_for(deep: Segmenter) -> None:
    asked = iter([plain("red"), plain("blue")])
    stream = deep.stream(asked)
    assert next(asked)[0, 0, 0] == 255
    assert colours_of(stream) == [["blue"]]


def test_as_many_pictures_are_on_their_way_as_the_chain_takes(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Slow(segmenter._chain, 3)
    monkeypatch.setattr(segmenter, "_chain", chain)
    read = [threading.Event() for _ in range(9)]

    def frames() -> Iterator[np.ndarray]:
        for number, event in enumerate(read):
            event.set()
            yield plain(number)

    for one in segmenter.stream(frames()):
        if one.index < 5:  # the pictures that could be on their way now are read
            assert read[one.index + 3].wait(LONG)
    assert chain.most == 3
    assert (chain.begun, chain.on_their_way) == (9, 0)


def test_pictures_that_are_read_are_begun_together_and_two_groups_are_on_their_way(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Slow(segmenter._chain, 2, 4)
    monkeypatch.setattr(segmenter, "_chain", chain)
    monkeypatch.setattr("odise_trt.segmenter.Reader", ReadAhead)
    begun = []
    for one in segmenter.stream([plain(n) for n in range(18)]):
        assert found(one) == [COLOURS[one.index % 3]]
        begun.append(sum(map(len, chain.groups)))
    # The first result is given when a third group is in the chain.
    assert begun[0] == 12
    assert [len(group) for group in chain.groups][:3] == [4, 4, 4]
    assert (sum(map(len, chain.groups)), chain.on_their_way, chain.most) == (18, 0, 2)


def test_a_result_does_not_wait_for_the_next_frame_of_a_camera(deep: Segmenter) -> None:
    shown = threading.Event()

    def camera() -> Iterator[np.ndarray]:
        yield plain("red")
        assert shown.wait(LONG)  # no further frame before the first result is seen
        yield plain("green")

    stream = deep.stream(camera())
    assert found(next(stream)) == ["red"]
    shown.set()
    assert found(next(stream)) == ["green"]
    assert list(stream) == []


def test_what_the_iterable_raises_comes_after_the_pictures_before_it(deep: Segmenter) -> None:
    def camera() -> Iterator[np.ndarray]:
        yield plain("red")
        yield plain("green")
        raise EOFError("unplugged")

    stream = deep.stream(camera())
    assert [found(next(stream)), found(next(stream))] == [["red"], ["green"]]
    with pytest.raises(EOFError, match="unplugged"):
        next(stream)
    assert list(stream) == []


def test_a_vocabulary_holds_for_all_results_after_it_was_set(deep: Segmenter) -> None:
    seen = []
    for one in deep.stream([plain("red")] * 7):
        seen.append((one.result.vocabulary.names, found(one)))
        if one.index == 2:
            deep.vocabulary = "blue; red; zebra"
        if one.index == 4:
            deep.vocabulary = WORDS
    first, second = (COLOURS, ["red"]), (("blue", "red", "zebra"), ["red"])
    assert [(tuple(names), segments) for names, segments in seen] == [first] * 3 + [second] * 2 + [first] * 2


def test_a_vocabulary_that_cannot_be_set_changes_nothing(deep: Segmenter) -> None:
    stream = deep.stream([plain(n) for n in range(5)])
    first = next(stream)
    with pytest.raises(VocabularyError):
        deep.vocabulary = "x" * 400
    assert [found(first), *colours_of(stream)] == [["red"], ["green"], ["blue"], ["red"], ["green"]]


def test_between_two_pictures_the_segmenter_can_be_called(deep: Segmenter) -> None:
    for one in deep.stream([plain(n) for n in range(6)]):
        called = deep(plain(one.index + 1), "semantic")
        assert (called.semantic == (one.index + 1) % 3).all()
        assert found(one) == [COLOURS[one.index % 3]]


def test_a_call_finds_the_chain_free(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = Slow(segmenter._chain, 2)
    monkeypatch.setattr(segmenter, "_chain", chain)
    stream = segmenter.stream([plain(n) for n in range(6)])
    next(stream), next(stream)
    segmenter(plain("red"))
    assert chain.most == 2
    assert colours_of(stream) == [["blue"], ["red"], ["green"], ["blue"]]


def test_two_streams_can_be_taken_in_turns(deep: Segmenter) -> None:
    left, right = ([plain(n + more) for n in range(5)] for more in (0, 1))
    for one, other in zip(deep.stream(left), deep.stream(right), strict=True):
        assert found(one) == [COLOURS[one.index % 3]]
        assert found(other) == [COLOURS[(one.index + 1) % 3]]


def test_what_read_makes_of_the_sources_is_segmented(deep: Segmenter, tmp_path: Path) -> None:
    Image.fromarray(plain("blue")).save(tmp_path / "a.png")
    rows = [{"id": "x", "colour": "green"}, {"id": "y", "path": tmp_path / "a.png"}, {"id": "z"}]

    def read(row: dict[str, Any]) -> Any:
        assert threading.current_thread() is not threading.main_thread()
        return plain(row["colour"]) if "colour" in row else row["path"]

    streamed = list(deep.stream(rows, read=read))
    assert [one.source["id"] for one in streamed] == ["x", "y", "z"]
    assert [found(one) for one in streamed[:2]] == [["green"], ["blue"]]
    assert streamed[1].result.source == tmp_path / "a.png"
    assert "picture 2 of the stream could not be segmented: KeyError: 'path'" in str(streamed[2].error)


class _Numbers:
    """A chain that gives the number of a picture, or fails for it: at once, or later.

    Pictures whose numbers give the same when divided by three run together.
    """

    def __init__(self, depth: int, together: int) -> None:
        self.depth, self.together = depth, together
        self.on_their_way = 0

    def begin_together(self, pictures: list[Any], job: Any) -> Any:
        assert self.on_their_way < self.depth
        assert 1 <= len(pictures) <= self.together
        if pictures[0][1] == "begin":
            raise BackendError("it failed")
        alike = takewhile(lambda one: one[1] != "begin" and one[0] // 3 == pictures[0][0] // 3, pictures)
        self.on_their_way += 1
        group = [1]
        return [SimpleNamespace(outcomes=partial(self._end, picture, group)) for picture in alike]

    def _end(self, picture: Any, group: list[int]) -> Any:
        self.on_their_way -= len(group)
        group.clear()
        if picture[1] == "wait":
            raise BackendError("it failed")
        return picture[0]

    def describe(self) -> dict[str, str]:
        return {}


@given(
    depth=st.integers(1, 5),
    together=st.integers(1, 4),
    fates=st.lists(st.sampled_from(["good", "good", "good", "read", "begin", "wait"]), max_size=30),
    raised=st.booleans(),
    changed=st.sets(st.integers(0, 30), max_size=3),
)
def test_whatever_fails_the_order_holds_and_nothing_is_lost(
    depth: int, together: int, fates: list[str], raised: bool, changed: set[int]
) -> None:
    def sources() -> Iterator[tuple[int, str]]:
        yield from enumerate(fates)
        if raised:
            raise EOFError

    def read(source: tuple[int, str]) -> Any:
        if source[1] == "read":
            raise ImageError("it failed")
        return SimpleNamespace(picture=source, path=None)

    chain, table = _Numbers(depth, together), object()
    job: Any = SimpleNamespace(table=table)
    stream = Stream(
        Reader(sources(), read, depth, together),
        chain,
        lambda: job,
        lambda prepared, job, outcomes: {"panoptic": (outcomes, job.table)},  # type: ignore[dict-item, return-value]
        OpenStreams(),
    )
    given_back = []
    with pytest.raises(EOFError) if raised else nullcontext():
        for one in stream:
            assert one.error is not None or one.result == (one.index, job.table)
            given_back.append((one.index, one.source, one.error is None))
            if one.index in changed:
                job = SimpleNamespace(table=object())
    assert given_back == [(n, (n, fate), fate == "good") for n, fate in enumerate(fates)]
    assert chain.on_their_way == 0
    assert list(stream) == []


def test_pictures_that_were_given_are_not_held(segmenter: Segmenter) -> None:
    frames: list[weakref.ref[np.ndarray]] = []

    def camera() -> Iterator[np.ndarray]:
        for number in range(30):
            frame = plain(number)
            frames.append(weakref.ref(frame))
            yield frame

    for one in segmenter.stream(camera()):
        alive = sum(frame() is not None for frame in frames)
        assert alive <= 5, one.index  # this one, those read ahead, and the variables of the generator


@pytest.mark.parametrize("example", Page("streaming.md").examples)
def test_the_examples_of_the_page_run(
    example: str, opened: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Image.fromarray(plain("red")).save("photos/cup.png")
    Path("photos/damaged.png").touch()
    seen: dict[str, Any] = {
        "Segmenter": Segmenter, "find_images": find_images, "Path": Path, "engines": opened.bundle.folder
    }  # fmt: skip
    exec(example, seen)
    if "ids" in seen:
        assert seen["ids"]["a17"].shape == (40, 60)
        assert seen["ids"]["a18"] is None
    else:
        assert sorted(path.name for path in Path("outputs").iterdir()) == [
            "cup.json", "cup.overlay.png", "cup.panoptic.png"
        ]  # fmt: skip

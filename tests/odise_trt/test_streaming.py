"""Many pictures through one segmenter: what calls one after the other would give, in order, and no more."""

from __future__ import annotations

import gc
import itertools
import signal
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
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
    OdiseError,
    Segmenter,
    Streamed,
    VocabularyError,
)
from odise_trt.batch import find_images
from odise_trt.chains import Chain, Job, Outcome, Pending, Picture
from odise_trt.chains.host import HostChain
from odise_trt.streaming import OpenStreams, Reader, Stream
from odise_trt.task import Task
from tests.odise_trt import toy_bundle
from tests.pages import Page

COLOURS = ("red", "green", "blue")
WORDS = "red; green; blue"
#: Seconds after which a test that waits has failed.
LONG = 30


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segmenter]:
    toy = toy_bundle.make(tmp_path_factory.mktemp("engines") / "toy")
    with Segmenter.open(toy, threads=1, cache=False) as segmenter:
        yield segmenter


@pytest.fixture
def segmenter(opened: Segmenter) -> Iterator[Segmenter]:
    opened.vocabulary = WORDS
    before = set(threading.enumerate())
    yield opened
    gc.collect()
    assert set(threading.enumerate()) <= before


@pytest.fixture(params=[1, 3])
def deep(request: pytest.FixtureRequest, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> Segmenter:
    """The segmenter, whose chain takes one picture at a time or several, as on a GPU."""
    if request.param > 1:
        monkeypatch.setattr(segmenter, "_chain", Slow(segmenter._chain, request.param))
    return segmenter


class Slow:
    """A chain of several slots: work begins at once and ends when somebody waits for it."""

    def __init__(self, chain: Chain, depth: int) -> None:
        self.depth = depth
        self._chain = chain
        self.on_their_way = 0
        self.most = 0
        self.begun = 0

    def begin(self, picture: Picture, job: Job) -> Pending:
        self.begun += 1
        self.on_their_way += 1
        self.most = max(self.most, self.on_their_way)
        return _Later(self, self._chain, picture, job)

    def finish(self) -> None:
        self.on_their_way -= 1

    def describe(self) -> dict[str, str]:
        return self._chain.describe()


class _Later:
    def __init__(self, slots: Slow, chain: Chain, picture: Picture, job: Job) -> None:
        self._slots, self._chain, self._given = slots, chain, (picture, job)

    def outcomes(self) -> Mapping[Task, Outcome]:
        self._slots.finish()
        return self._chain.begin(*self._given).outcomes()


def plain(colour: int | str, height: int = 40, width: int = 60) -> np.ndarray:
    """A picture of one colour."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, :, COLOURS.index(colour) if isinstance(colour, str) else colour % 3] = 255
    return image


def found(one: Streamed) -> list[str]:
    return [segment.name for segment in one.result.segments]


def colours_of(items: Iterator[Streamed]) -> list[list[str]]:
    return [found(one) for one in items]


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


def test_pictures_that_cannot_be_read_have_errors_and_the_next_follow(
    deep: Segmenter, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.png"
    cut.write_bytes(b"\x89PNG\r\n\x1a\n")
    given = [plain("red"), tmp_path / "gone.jpg", cut, plain("blue"), plain("red").astype(float), None]
    streamed = list(deep.stream(given))
    assert [one.index for one in streamed] == list(range(6))
    assert [type(one.error) for one in streamed] == [
        type(None), ImageError, ImageError, type(None), ImageError, ImageError
    ]  # fmt: skip
    assert "gone.jpg" in str(streamed[1].error)
    assert streamed[1].results == {}
    assert found(streamed[3]) == ["blue"]
    with pytest.raises(ImageError, match="must be uint8"):
        _ = streamed[4].result


def failing(chain: Chain, when: Callable[[Picture], Exception | None], late: bool) -> Chain:
    """A chain that fails for some pictures, when it begins or when it is waited for."""

    class Failing(Slow):
        def begin(self, picture: Picture, job: Job) -> Pending:
            error = when(picture)
            if error is not None and not late:
                raise error
            pending = super().begin(picture, job)
            return pending if error is None else _Fails(self, error)

    return Failing(chain, 2)


class _Fails:
    def __init__(self, slots: Slow, error: Exception) -> None:
        self._slots, self._error = slots, error

    def outcomes(self) -> Mapping[Task, Outcome]:
        self._slots.finish()
        raise self._error


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("raised", "kind", "says"),
    [
        (BackendError("stage features failed", "rebuild"), BackendError, "picture 1 of the stream: stage"),
        (MemoryError(), ImageError, "picture 1 of the stream needs more memory than there is"),
        (KeyError("surprise"), OdiseError, "picture 1 of the stream could not be segmented: KeyError"),
    ],
)
def test_an_engine_that_fails_is_the_error_of_its_picture(
    late: bool,
    raised: Exception,
    kind: type[OdiseError],
    says: str,
    segmenter: Segmenter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def when(picture: Picture) -> Exception | None:
        return raised if picture.size == (9, 9) else None

    monkeypatch.setattr(segmenter, "_chain", failing(segmenter._chain, when, late))
    streamed = list(segmenter.stream([plain("red"), plain("red", 9, 9), plain("green"), plain("blue")]))
    assert [type(one.error) for one in streamed] == [type(None), kind, type(None), type(None)]
    assert says in str(streamed[1].error)
    assert streamed[1].error.__cause__ is raised
    assert colours_of(iter(streamed[2:])) == [["green"], ["blue"]]


@pytest.mark.parametrize(
    "wrong", [{"task": "panoptics"}, {"overlap_threshold": 5}, {"task": "semantic", "overlap_threshold": 0.5}]
)
def test_wrong_arguments_are_refused_before_anything_is_read(
    wrong: dict[str, Any], segmenter: Segmenter
) -> None:
    asked = iter([plain("red")])
    with pytest.raises(ArgumentError):
        segmenter.stream(asked, **wrong)
    assert next(asked) is not None


def test_without_a_vocabulary_nothing_is_read(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmenter, "_table", None)
    asked = iter([plain("red")])
    with pytest.raises(VocabularyError):
        segmenter.stream(asked)
    assert next(asked) is not None


@pytest.mark.parametrize(
    ("one", "says"),
    [
        ("photos", "find_images"),
        (Path("photo.jpg"), "find_images"),
        (b"\x89PNG", "one bytes"),
        (plain("red"), r"\(40, 60, 3\)"),
        (Image.new("RGB", (4, 4)), "one Image"),
        (None, "not NoneType"),
        (7, "not int"),
    ],
)
def test_one_picture_is_not_many(one: Any, says: str, segmenter: Segmenter) -> None:
    with pytest.raises(ArgumentError, match=says):
        segmenter.stream(one)


def test_an_open_file_is_not_many_pictures(segmenter: Segmenter, tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with open(tmp_path / "a.png", "rb") as file, pytest.raises(ArgumentError, match="BufferedReader"):
        segmenter.stream(file)


def test_an_endless_stream_is_asked_a_few_pictures_ahead(deep: Segmenter) -> None:
    asked = []

    def frames() -> Iterator[np.ndarray]:
        for number in itertools.count():
            asked.append(number)
            yield plain(number)

    depth = deep._chain.depth
    for one in deep.stream(frames()):
        # Those on their way, those read ahead by as many threads, and one more.
        assert len(asked) <= one.index + 1 + depth + depth + 1
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


def reading_threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("odise-trt")]


def endless() -> Iterator[np.ndarray]:
    return (plain(number) for number in itertools.count())


def test_leaving_the_loop_stops_the_threads(deep: Segmenter) -> None:
    for _ in deep.stream(endless()):
        assert reading_threads()
        break
    assert reading_threads() == []
    assert found(next(deep.stream([plain("green")]))) == ["green"]


def test_pictures_of_a_stream_that_was_left_do_not_stay_in_the_chain(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Slow(segmenter._chain, 2)
    monkeypatch.setattr(segmenter, "_chain", chain)
    for _ in range(3):
        for one in segmenter.stream([plain(n) for n in range(9)]):
            if one.index == 3:
                break
        segmenter(plain("red"))
    assert (chain.on_their_way, chain.most) == (0, 2)


def test_a_closed_stream_gives_nothing_more(deep: Segmenter) -> None:
    with deep.stream(endless()) as stream:
        assert found(next(stream)) == ["red"]
        stream.close()
        stream.close()
        assert reading_threads() == []
        assert list(stream) == []


def test_an_error_in_the_loop_stops_the_threads(deep: Segmenter) -> None:
    stream = deep.stream(endless())

    def work() -> None:
        with stream:
            for _ in stream:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert reading_threads() == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_in_an_engine_stops_the_threads(
    stop: type[BaseException], segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = segmenter.stream(endless())
    next(stream)

    def begin(*_: object) -> None:
        raise stop

    monkeypatch.setattr(HostChain, "begin", begin)
    with pytest.raises(stop):
        next(stream)
    assert reading_threads() == []
    assert list(stream) == []


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals of POSIX")
def test_ctrl_c_while_there_is_no_frame_ends_the_wait(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odise_trt.streaming.reader.PATIENCE", 0.01)
    plugged = threading.Event()
    main = threading.get_ident()

    def camera() -> Iterator[np.ndarray]:
        signal.pthread_kill(main, signal.SIGINT)
        plugged.wait(LONG)
        yield plain("red")

    stream = segmenter.stream(camera())
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    plugged.set()
    for thread in stream._reader._running:
        thread.join(LONG)
    assert list(stream) == []


def test_a_segmenter_that_is_closed_stops_its_streams(opened: Segmenter) -> None:
    with Segmenter.open(opened.bundle.folder, vocabulary=WORDS, cache=False, threads=1) as segmenter:
        stream, idle = segmenter.stream(endless()), segmenter.stream(endless())
        next(stream)
    assert reading_threads() == []
    for one in (stream, idle):
        with pytest.raises(BackendError, match="was closed"):
            next(one)
    with pytest.raises(BackendError, match="was closed"):
        segmenter.stream([])


def test_a_camera_that_gives_nothing_does_not_hold_up_the_end(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odise_trt.streaming.reader.PATIENCE", 0.01)
    plugged = threading.Event()

    def camera() -> Iterator[np.ndarray]:
        yield plain("red")
        plugged.wait(LONG)

    with segmenter.stream(camera()) as stream:
        next(stream)
    (left,) = (one for one in threading.enumerate() if one.name.startswith("odise-trt"))
    assert left.daemon  # so that the process can end
    plugged.set()
    left.join(LONG)
    assert reading_threads() == []


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
    """A chain that gives the number of a picture, or fails for it: at once, or later."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.on_their_way = 0

    def begin(self, picture: Any, job: Any) -> Any:
        assert self.on_their_way < self.depth
        if picture[1] == "begin":
            raise BackendError("it failed")
        self.on_their_way += 1
        return SimpleNamespace(outcomes=lambda: self._end(picture))

    def _end(self, picture: Any) -> Any:
        self.on_their_way -= 1
        if picture[1] == "wait":
            raise BackendError("it failed")
        return picture[0]

    def describe(self) -> dict[str, str]:
        return {}


@given(
    depth=st.integers(1, 5),
    fates=st.lists(st.sampled_from(["good", "good", "good", "read", "begin", "wait"]), max_size=30),
    raised=st.booleans(),
    changed=st.sets(st.integers(0, 30), max_size=3),
)
def test_whatever_fails_the_order_holds_and_nothing_is_lost(
    depth: int, fates: list[str], raised: bool, changed: set[int]
) -> None:
    def sources() -> Iterator[tuple[int, str]]:
        yield from enumerate(fates)
        if raised:
            raise EOFError

    def read(source: tuple[int, str]) -> Any:
        if source[1] == "read":
            raise ImageError("it failed")
        return SimpleNamespace(picture=source, path=None)

    chain, table = _Numbers(depth), object()
    job: Any = SimpleNamespace(table=table)
    stream = Stream(
        Reader(sources(), read, depth),
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

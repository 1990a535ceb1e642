"""Many images: one that fails stops none of the others, and nothing of others is replaced."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from odise_trt import Segmenter, Vocabulary
from odise_trt.batch import PATIENCE, Outcome, find_images, segment_files
from odise_trt.chains.host import HostChain
from odise_trt.errors import (
    ArgumentError,
    BackendError,
    ImageError,
    OdiseError,
    OutputError,
    VocabularyError,
)
from odise_trt.result import Result
from tests.odise_trt import toy_bundle


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segmenter]:
    bundle = toy_bundle.make(tmp_path_factory.mktemp("engines") / "toy")
    with Segmenter.open(bundle, vocabulary=Vocabulary.parse("red; green; blue"), threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, 20:, 0] = 255
    Image.fromarray(pixels).save(path)
    return path


def copies(photo: Path, folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, path)
    return paths


def errors_of(outcomes: list[Outcome]) -> dict[str, type[OdiseError] | None]:
    return {one.image.name: None if one.error is None else type(one.error) for one in outcomes}


NAMES = [
    "b\\c.jpg",
    "ж" * 123 + ".jpg",
    "y" * 248 + ".jpg",
    "z" * 251 + ".jpg",
    "猫" * 83 + ".jpg",
    "caf\udce9.jpg",
    "new\nline.jpg",
    "esc\x1b[0m.jpg",
    "trail. .jpg",
    " .jpg",
    "-rf.jpg",
    "con.jpg",
    "[a].jpg",
    "*.jpg",
    "a:b?c|d.jpg",
    "1" * 200 + ".jpg",
    "Straße.jpg",
    "STRASSE.jpg",
]


def test_no_name_of_a_picture_stops_the_others(segmenter: Segmenter, photo: Path, tmp_path: Path) -> None:
    images = copies(photo, tmp_path / "in", "a.jpg", *NAMES, "zz.jpg")
    outcomes = list(segment_files(segmenter, find_images([tmp_path / "in"]), tmp_path / "out"))
    assert errors_of(outcomes) == {image.name: None for image in images}
    # The second time, the same files are written.
    again = images[1:5]
    assert errors_of(list(segment_files(segmenter, again, tmp_path / "out"))) == {i.name: None for i in again}
    assert len(list((tmp_path / "out").iterdir())) == 3 * len(images)


@pytest.mark.parametrize(
    ("raised", "kind", "says"),
    [
        (MemoryError(), ImageError, "needs more memory than there is"),
        (np._core._exceptions._ArrayMemoryError((9, 9), np.dtype("f4")), ImageError, "needs more memory"),
        (BackendError("features gave nan", "rebuild"), BackendError, "features gave nan"),
        (RuntimeError("surprise\nmore"), OdiseError, "RuntimeError: surprise"),
        (KeyError(), OdiseError, "KeyError"),
        (RecursionError("deep"), OdiseError, "RecursionError: deep"),
        (OSError(errno.EIO, "Input/output error"), ImageError, "Input/output error"),
    ],
)
def test_whatever_happens_to_one_picture_is_its_outcome(
    raised: Exception,
    kind: type[OdiseError],
    says: str,
    segmenter: Segmenter,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, bad, last = copies(photo, tmp_path, "a.png", "bad.png", "c.png")
    ordinary, begun = HostChain.begin, []

    def begin(self: HostChain, *given: Any) -> Any:
        begun.append(given)
        if len(begun) == 2:
            raise raised
        return ordinary(self, *given)

    monkeypatch.setattr(HostChain, "begin", begin)
    outcomes = list(segment_files(segmenter, [first, bad, last], tmp_path / "out"))
    assert errors_of(outcomes) == {"a.png": None, "bad.png": kind, "c.png": None}
    assert says in str(outcomes[1].error)
    assert str(bad) in str(outcomes[1].error)
    assert all(outcome.tried for outcome in outcomes)


def test_memory_that_ends_while_results_are_drawn_is_an_outcome_too(
    segmenter: Segmenter, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("odise_trt.visualize.draw_overlay", fail)
    (outcome,) = segment_files(segmenter, [photo], tmp_path)
    assert "needs more memory" in str(outcome.error)
    assert not list(tmp_path.iterdir())


def test_what_is_no_picture_is_an_outcome(segmenter: Segmenter, photo: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    given = [tmp_path / "pipe.jpg", tmp_path, "https://a/b.jpg", "x" * 300, "a\0b", "", "half\ud83d", photo]
    outcomes = list(segment_files(segmenter, given, tmp_path / "out"))
    assert [type(one.error) for one in outcomes] == [ImageError] * 7 + [type(None)]
    assert "https://a/b.jpg is a URL" in str(outcomes[2].error)


def test_a_picture_that_vanishes_is_an_outcome(segmenter: Segmenter, photo: Path, tmp_path: Path) -> None:
    images = copies(photo, tmp_path, *(f"{n}.png" for n in range(9)))
    work = segment_files(segmenter, images, tmp_path / "out")
    assert next(work).error is None
    images[7].unlink()  # the next few are read already
    assert errors_of(list(work)) == {f"{n}.png": ImageError if n == 7 else None for n in range(1, 9)}


def test_no_picture_of_a_call_is_replaced_by_results_of_another(
    segmenter: Segmenter, photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    images = copies(photo, tmp_path / "real", "p.png", "p.overlay.png", "q.png", "q.panoptic.png", "r.png")
    os.link(tmp_path / "real" / "q.png", tmp_path / "real" / "r.json")
    before = {image: image.read_bytes() for image in images}
    spelled = [tmp_path / "link" / image.name for image in images[1:]]
    outcomes = list(
        segment_files(segmenter, [images[0], *spelled], tmp_path / "real" / ".." / "link", overwrite=True)
    )
    assert errors_of(outcomes) == {
        "p.png": OutputError,
        "p.overlay.png": None,
        "q.png": OutputError,
        "q.panoptic.png": None,
        "r.png": OutputError,
    }
    assert "would replace an image" in str(outcomes[0].error)
    assert {image: image.read_bytes() for image in images} == before


def test_a_picture_that_is_not_there_yet_is_not_written_by_another(
    segmenter: Segmenter, photo: Path, tmp_path: Path
) -> None:
    (image,) = copies(photo, tmp_path, "p.png")
    outcomes = list(segment_files(segmenter, [image, tmp_path / "p.overlay.png"], tmp_path))
    assert errors_of(outcomes) == {"p.png": OutputError, "p.overlay.png": ImageError}


def test_a_call_for_each_picture_replaces_no_results_of_the_others(
    segmenter: Segmenter, photo: Path, tmp_path: Path
) -> None:
    images = copies(photo, tmp_path, "a/p.jpg", "b/p.png", "c/p.jpg")

    def call(image: Path, **options: bool) -> OdiseError | None:
        (outcome,) = segment_files(segmenter, [image], tmp_path / "out", **options)
        return outcome.error

    assert [type(call(image)) for image in images] == [type(None), OutputError, OutputError]
    assert call(images[0]) is None
    assert call(images[1], overwrite=True) is None
    assert isinstance(call(images[0]), OutputError)


def test_files_in_the_way_are_found_before_the_work(
    segmenter: Segmenter, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (image,) = copies(photo, tmp_path, "photo.png")
    (tmp_path / "photo.json").write_text('{"shapes": []}')

    def work(*_: object, **__: object) -> None:
        raise AssertionError("it was segmented")

    monkeypatch.setattr(HostChain, "begin", work)
    (outcome,) = segment_files(segmenter, [image], tmp_path)
    assert isinstance(outcome.error, OutputError)


def test_the_folder_of_the_pictures_can_take_the_results_again_and_again(
    segmenter: Segmenter, photo: Path, tmp_path: Path
) -> None:
    copies(photo, tmp_path, "a.png", "a.jpg", "b.gif")
    for _ in range(3):
        outcomes = list(segment_files(segmenter, find_images([tmp_path]), tmp_path))
        assert errors_of(outcomes) == {"a.png": None, "a.jpg": None, "b.gif": None}
        assert len(list(tmp_path.iterdir())) == 3 + 9


def failing_writes(fails: Callable[[Path], OSError | None]) -> Callable[[Path, bytes], int]:
    ordinary = Path.write_bytes

    def write_bytes(self: Path, data: bytes) -> int:
        error = fails(self)
        if error is not None and data != b"0":
            raise error
        return ordinary(self, data)

    return write_bytes


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOENT])
def test_a_folder_that_takes_nothing_ends_the_work_and_says_what_was_not_tried(
    number: int, segmenter: Segmenter, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = copies(photo, tmp_path, *(f"{n}.png" for n in range(8)))
    work = segment_files(segmenter, images, tmp_path / "out")
    assert next(work).error is None
    full = OSError(number, os.strerror(number))
    monkeypatch.setattr(Path, "write_bytes", failing_writes(lambda _: full))
    outcomes = list(work)
    assert [outcome.image for outcome in outcomes] == images[1:]
    assert [outcome.tried for outcome in outcomes] == [n < PATIENCE for n in range(7)]
    assert all(isinstance(outcome.error, OutputError) for outcome in outcomes)
    assert os.strerror(number) in str(outcomes[-1].error)
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_single_files_that_cannot_be_written_end_nothing(
    segmenter: Segmenter, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = copies(photo, tmp_path, *(f"{n}.png" for n in range(6)))
    for image in images[:5]:
        (tmp_path / "out" / f"{image.stem}.json").mkdir(parents=True)
    outcomes = list(segment_files(segmenter, images, tmp_path / "out"))
    assert [outcome.error is None for outcome in outcomes] == [False] * 5 + [True]
    refused = OSError(errno.EINVAL, "Invalid argument")
    monkeypatch.setattr(Path, "write_bytes", failing_writes(lambda _: refused))
    outcomes = list(segment_files(segmenter, images, tmp_path / "other"))
    assert [outcome.tried for outcome in outcomes] == [True] * 6
    assert "does not take this name" in str(outcomes[0].error)


def test_a_segmenter_without_a_vocabulary_is_nobodys_fault_but_the_callers(
    segmenter: Segmenter, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segmenter, "_table", None)
    with pytest.raises(VocabularyError):
        list(segment_files(segmenter, [photo, photo], tmp_path))


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES, errno.EBUSY])
def test_results_that_may_not_be_replaced_end_nothing(
    number: int, segmenter: Segmenter, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = copies(photo, tmp_path, *(f"{n}.png" for n in range(6)))
    list(segment_files(segmenter, images[:5], tmp_path / "out"))

    def refuse(self: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number), str(self), None, str(target))

    monkeypatch.setattr(Path, "replace", refuse)
    outcomes = list(segment_files(segmenter, images, tmp_path / "out"))
    assert [(outcome.tried, outcome.error is None) for outcome in outcomes] == [(True, False)] * 5 + [
        (True, True)
    ]
    assert "may not be replaced: remove it" in str(outcomes[0].error)


def test_a_picture_whose_results_are_too_large_a_file_ends_nothing(
    segmenter: Segmenter, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = copies(photo, tmp_path, *(f"{n}.png" for n in range(5)))
    limit = OSError(errno.EFBIG, "File too large")
    monkeypatch.setattr(Path, "write_bytes", failing_writes(lambda _: limit))
    outcomes = list(segment_files(segmenter, images, tmp_path / "out"))
    assert all(outcome.tried for outcome in outcomes)
    assert "ulimit -f" in str(outcomes[0].error)


def test_photos_or_results_can_be_moved_between_two_runs(
    segmenter: Segmenter, photo: Path, tmp_path: Path
) -> None:
    copies(photo, tmp_path / "photos", "a.png", "b.png")

    def errors(images: str, results: str) -> list[OdiseError | None]:
        found = find_images([tmp_path / images])
        return [one.error for one in segment_files(segmenter, found, tmp_path / results)]

    assert errors("photos", "out") == [None, None]
    (tmp_path / "photos").rename(tmp_path / "photos 2024")
    assert errors("photos 2024", "out") == [None, None]
    (tmp_path / "archive").mkdir()
    (tmp_path / "out").rename(tmp_path / "archive" / "out")
    assert errors("photos 2024", "archive/out") == [None, None]
    assert len(list((tmp_path / "archive" / "out").iterdir())) == 6


def test_pictures_of_a_folder_with_a_tilde_for_a_name_are_those_in_it(
    segmenter: Segmenter, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    copies(photo, Path("~"), "a.png")
    (outcome,) = segment_files(segmenter, find_images("./~"), "out")
    assert (outcome.error, outcome.image) == (None, Path("~/a.png"))


@pytest.mark.parametrize("wrong", [{"task": "panoptics"}, {"overlap_threshold": 5}])
def test_arguments_that_fit_no_picture_are_refused_once(
    wrong: dict[str, Any], segmenter: Segmenter, photo: Path, tmp_path: Path
) -> None:
    with pytest.raises(ArgumentError):
        next(segment_files(segmenter, [photo, photo], tmp_path / "out", **wrong))


def test_a_picture_is_saved_while_the_next_is_segmented(
    segmenter: Segmenter, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = copies(photo, tmp_path, *(f"{n}.png" for n in range(4)))
    begun = [threading.Event() for _ in images]
    order = iter(begun)
    ordinary, save = HostChain.begin, Result.save

    def begin(self: HostChain, *given: Any) -> Any:
        next(order).set()
        return ordinary(self, *given)

    def save_later(self: Result, folder: Path, name: str, **options: Any) -> Any:
        assert int(name) == 3 or begun[int(name) + 1].wait(30)
        return save(self, folder, name, **options)

    monkeypatch.setattr(HostChain, "begin", begin)
    monkeypatch.setattr(Result, "save", save_later)
    outcomes = list(segment_files(segmenter, images, tmp_path / "out"))
    assert errors_of(outcomes) == {f"{n}.png": None for n in range(4)}
    assert [outcome.image for outcome in outcomes] == images


def test_a_picture_that_took_long_is_reported_before_the_next_begins(
    segmenter: Segmenter, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odise_trt.batch.LONG", 0.0)
    images = copies(photo, tmp_path, *(f"{n}.png" for n in range(3)))
    ordinary, begun = HostChain.begin, []

    def begin(self: HostChain, *given: Any) -> Any:
        begun.append(given)
        return ordinary(self, *given)

    monkeypatch.setattr(HostChain, "begin", begin)
    for count, outcome in enumerate(segment_files(segmenter, images, tmp_path / "out"), 1):
        assert len(begun) == count
        assert all(file.exists() for file in outcome.files)


def test_work_that_is_left_finishes_what_it_writes_and_leaves_no_thread(
    segmenter: Segmenter, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(threading.enumerate())
    saving, left = threading.Event(), threading.Event()
    save = Result.save

    def save_slowly(self: Result, folder: Path, name: str, **options: Any) -> Any:
        if name == "1":
            saving.set()
            assert left.wait(30)
        return save(self, folder, name, **options)

    monkeypatch.setattr(Result, "save", save_slowly)
    work = segment_files(segmenter, copies(photo, tmp_path, *(f"{n}.png" for n in range(9))), tmp_path / "o")
    assert next(work).error is None
    assert saving.wait(30)
    left.set()
    work.close()
    assert set(threading.enumerate()) <= before
    assert sorted(path.name for path in (tmp_path / "o").glob("*.json")) == ["0.json", "1.json"]
    assert len(list((tmp_path / "o").iterdir())) == 6


def test_what_was_segmented_before_ctrl_c_is_saved_and_told(
    segmenter: Segmenter, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordinary, begun = HostChain.begin, []

    def begin(self: HostChain, *given: Any) -> Any:
        begun.append(given)
        if len(begun) == 4:
            raise KeyboardInterrupt
        return ordinary(self, *given)

    monkeypatch.setattr(HostChain, "begin", begin)
    told = []
    with pytest.raises(KeyboardInterrupt):
        told.extend(
            segment_files(segmenter, copies(photo, tmp_path, *(f"{n}.png" for n in range(6))), tmp_path / "o")
        )
    assert [outcome.image.name for outcome in told] == ["0.png", "1.png", "2.png"]
    assert len(list((tmp_path / "o").iterdir())) == 9


def test_a_file_for_detectron2_of_another_task_is_the_callers_mistake(
    segmenter: Segmenter, photo: Path, tmp_path: Path
) -> None:
    with pytest.raises(ArgumentError):
        list(segment_files(segmenter, [photo, photo], tmp_path / "out", "semantic", detectron2=True))


def test_pictures_that_are_no_files_are_shown_the_way(segmenter: Segmenter, tmp_path: Path) -> None:
    for images in (
        np.zeros((4, 4, 3), np.uint8),
        [np.zeros((4, 4, 3), np.uint8)],
        [Image.new("RGB", (4, 4))],
    ):
        with pytest.raises(ArgumentError, match="which has save"):
            list(segment_files(segmenter, images, tmp_path))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="not NoneType"):
        list(segment_files(segmenter, [None], tmp_path))  # type: ignore[list-item]


def test_names_in_bytes_are_names(photo: Path) -> None:
    assert find_images(os.fsencode(photo)) == find_images([os.fsencode(photo)]) == [photo]  # type: ignore[list-item]

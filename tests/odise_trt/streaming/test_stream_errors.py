"""A picture that fails is an item with an error. A wrong call is refused before anything is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from odise_trt import (
    ArgumentError,
    BackendError,
    ImageError,
    OdiseError,
    Segmenter,
    VocabularyError,
)
from odise_trt.chains import Chain, Job, Outcome, Pending, Picture
from odise_trt.task import Task
from tests.odise_trt.streaming.parts import (
    Slow,
    colours_of,
    found,
    plain,
)


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
        def begin_together(self, pictures: Sequence[Picture], job: Job) -> list[Pending]:
            error = when(pictures[0])
            if error is not None and not late:
                raise error
            (pending,) = super().begin_together(pictures, job)
            return [pending if error is None else _Fails(pending, error)]

    return Failing(chain, 2)


class _Fails:
    def __init__(self, pending: Pending, error: Exception) -> None:
        self._pending, self._error = pending, error

    def outcomes(self) -> Mapping[Task, Outcome]:
        self._pending.outcomes()
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

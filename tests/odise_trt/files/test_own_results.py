"""Results are told from files of others, and those of one picture from those of another."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odise_trt.errors import ArgumentError, OutputError
from odise_trt.files.own_results import Origin, digest_of, origin_of, results_of, source_of
from odise_trt.result import Result
from odise_trt.vocabulary import Vocabulary
from tests.odise_trt.results_beside import results_beside

WORDS = Vocabulary.parse("purse, handbag; table")


def result(shade: int = 0, source: Path | None = None) -> Result:
    pixels = np.full((40, 60, 3), shade, np.uint8)
    return Result(pixels, WORDS, panoptic=np.zeros((40, 60), np.int32), source=source)


def test_what_is_written_is_known_again(tmp_path: Path) -> None:
    source = tmp_path / "in" / "photo.jpg"
    for file in result(source=source).save(tmp_path / "out", "photo"):
        assert results_of(file) == Origin("photo.jpg", "../in/photo.jpg", digest_of(result().image))
    assert results_of(source) is None


FOREIGN = {
    "labelme": json.dumps({"version": "5.0", "shapes": [], "imagePath": "photo.jpg"}),
    "google": json.dumps({"title": "photo.jpg", "description": "segmented by odise-trt"}),
    "coco": json.dumps({"info": {"description": "COCO"}, "images": [{"id": 1, "file_name": "photo.jpg"}]}),
    "nameless": json.dumps({"info": {"description": "segmented by odise-trt"}, "images": []}),
    "list": "[1, 2]",
    "deep": "[" * 50_000,
    "half": '{"info": {"descr',
    "empty": "",
    "binary": "\x00\xff\ud800",
}


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        *((kind, "photo.json") for kind in FOREIGN),
        # Of a picture, only the JSON beside it is read.
        *((kind, f"photo.{what}.png") for kind in ("coco", "binary") for what in ("overlay", "panoptic")),
    ],
)
def test_files_of_others_stay_unless_asked(kind: str, file: str, tmp_path: Path) -> None:
    content = FOREIGN[kind].encode(errors="surrogatepass")
    (tmp_path / file).write_bytes(content)
    with pytest.raises(OutputError, match="is no result of odise-trt"):
        result().save(tmp_path, "photo")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {file: content}
    assert len(result().save(tmp_path, "photo", overwrite=True)) == 3
    assert (tmp_path / file).read_bytes() != content


@given(st.binary(max_size=200) | st.text().map(str.encode))
def test_no_file_makes_the_question_raise(content: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.open", lambda *_: __import__("io").BytesIO(content))
        assert origin_of(__file__) is None


def test_results_of_one_picture_are_not_replaced_by_those_of_another(tmp_path: Path) -> None:
    first = result(source=tmp_path / "a" / "p.jpg").save(tmp_path, "p")
    before = [file.read_bytes() for file in first]
    for other in (
        result(source=tmp_path / "b" / "p.jpg"),
        result(source=tmp_path / "a" / "p.png"),
        result(shade=1),
    ):
        with pytest.raises(OutputError, match=r"p\.json is a result of another picture: a/p\.jpg"):
            other.save(tmp_path, "p")
        assert [file.read_bytes() for file in first] == before
    # The same picture, whatever is in it now.
    assert result(shade=9, source=tmp_path / "a" / "p.jpg").save(tmp_path, "p") == first


def test_pictures_that_are_no_files_are_told_by_their_pixels(tmp_path: Path) -> None:
    result(1).save(tmp_path, "frame")
    result(1).save(tmp_path, "frame")
    with pytest.raises(OutputError, match="another picture"):
        result(2).save(tmp_path, "frame")
    result(2).save(tmp_path, "frame", overwrite=True)


def test_results_written_before_sources_were_recorded_are_told_by_the_name(tmp_path: Path) -> None:
    results_beside(tmp_path / "p.json", "p.jpg")
    with pytest.raises(OutputError, match="another picture"):
        result(source=tmp_path / "p.png").save(tmp_path, "p")
    result(source=tmp_path / "p.jpg").save(tmp_path, "p")


def test_the_picture_itself_is_never_replaced(tmp_path: Path) -> None:
    photo = tmp_path / "photo.overlay.png"
    photo.write_bytes(b"the picture")
    (tmp_path / "link").symlink_to(tmp_path)
    for folder in (tmp_path, tmp_path / "link", tmp_path / "link" / ".." / tmp_path.name):
        with pytest.raises(OutputError, match="is the picture that was segmented"):
            result(source=photo).save(folder, "photo", overwrite=True)
    assert photo.read_bytes() == b"the picture"


def test_a_broken_link_in_the_way_is_somebodys(tmp_path: Path) -> None:
    (tmp_path / "photo.json").symlink_to("/nowhere/else")
    with pytest.raises(OutputError, match="no result of odise-trt"):
        result().save(tmp_path, "photo")


def test_of_two_processes_that_write_one_name_at_once_the_second_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordinary = os.link
    other = result(source=tmp_path / "b" / "p.jpg")

    def slow(*arguments: str) -> None:
        monkeypatch.setattr(os, "link", ordinary)
        other.save(tmp_path, "p")
        ordinary(*arguments)

    monkeypatch.setattr(os, "link", slow)
    with pytest.raises(OutputError, match="another picture"):
        result(source=tmp_path / "a" / "p.jpg").save(tmp_path, "p")
    assert str(origin_of(tmp_path / "p.json")) == "b/p.jpg"
    assert len(list(tmp_path.iterdir())) == 3


def test_without_hard_links_files_are_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for _ in range(2):
        result().save(tmp_path, "photo")
    assert len(list(tmp_path.iterdir())) == 3
    with pytest.raises(OutputError):
        result(1).save(tmp_path, "photo")


def test_the_source_stays_true_when_both_folders_move_together(tmp_path: Path) -> None:
    (tmp_path / "all" / "in").mkdir(parents=True)
    before = source_of(tmp_path / "all" / "in" / "a.jpg", tmp_path / "all" / "out")
    (tmp_path / "all").rename(tmp_path / "moved")
    assert (
        source_of(tmp_path / "moved" / "in" / "a.jpg", tmp_path / "moved" / "out") == before == "../in/a.jpg"
    )


@pytest.mark.parametrize("name", ["x" * 300, "ж" * 200, "b\\c", "caf\udce9", "a\nb", " ", "con", "."])
def test_names_of_every_kind_are_written(name: str, tmp_path: Path) -> None:
    for _ in range(2):
        files = result().save(tmp_path, name)
    assert all(file.is_file() for file in files)
    assert len(list(tmp_path.iterdir())) == 3


def test_an_empty_folder_name_is_not_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="is empty"):
        result().save("", "photo")
    assert len(result().save(".", "photo")) == 3


def test_half_a_letter_is_no_name(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is not a file name"):
        result().save(tmp_path, "half\ud83d")


def test_results_follow_a_picture_that_was_moved(tmp_path: Path) -> None:
    place, later = tmp_path / "photos" / "p.jpg", tmp_path / "2024" / "p.jpg"
    place.parent.mkdir()
    place.touch()
    first = result(source=place).save(tmp_path / "out", "p")
    place.parent.rename(later.parent)
    with pytest.raises(OutputError, match=r"another picture: \.\./photos/p\.jpg, not \.\./2024/p\.jpg"):
        result(shade=1, source=later).save(tmp_path / "out", "p")  # another card with the same names
    assert result(source=later).save(tmp_path / "out", "p") == first
    assert str(origin_of(first[2])) == "../2024/p.jpg"


def test_results_that_were_moved_are_those_of_their_picture(tmp_path: Path) -> None:
    place = tmp_path / "p.jpg"
    place.touch()
    result(source=place).save(tmp_path / "out", "p")
    (tmp_path / "archive").mkdir()
    (tmp_path / "out").rename(tmp_path / "archive" / "out")
    result(source=place).save(tmp_path / "archive" / "out", "p")


def test_a_copy_is_another_picture_while_the_first_is_there(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "p.jpg").touch()
    result(source=tmp_path / "a" / "p.jpg").save(tmp_path, "p")
    with pytest.raises(OutputError, match="another picture"):
        result(source=tmp_path / "b" / "p.jpg").save(tmp_path, "p")


def test_what_comes_through_a_pipe_is_told_by_its_pixels(tmp_path: Path) -> None:
    pipe = Path("/dev/stdin")
    result(1, pipe).save(tmp_path, "stdin")
    result(1, pipe).save(tmp_path, "stdin")
    with pytest.raises(OutputError, match="another picture: stdin, which was no file"):
        result(2, pipe).save(tmp_path, "stdin")


def test_pixels_in_another_shape_are_another_picture() -> None:
    assert digest_of(np.zeros((2, 3, 3), np.uint8)) != digest_of(np.zeros((3, 2, 3), np.uint8))


def test_results_without_their_json_are_said_to_be_so(tmp_path: Path) -> None:
    result().save(tmp_path, "p")[2].unlink()
    with pytest.raises(OutputError, match=r"p\.overlay\.png is there .*: no p\.json beside it says so"):
        result().save(tmp_path, "p")


def test_a_json_that_cannot_be_read_is_not_called_somebodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result().save(tmp_path, "p")

    def refuse(*_: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(OutputError, match=r"cannot be told: .*p\.json cannot be read: Stale file handle"):
        result().save(tmp_path, "p")


@pytest.mark.parametrize("name", [7, Path("p"), b"p", None])
def test_a_name_that_is_no_text_is_answered(name: object, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="name must be a str, not "):
        result().save(tmp_path, name)  # type: ignore[arg-type]


def test_the_home_folder_is_put_in_where_results_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert result().save("~/out", "p")[2] == tmp_path / "out" / "p.json"

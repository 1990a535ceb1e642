"""Which files are segmented, and what is said of the others."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from odise_trt.errors import ImageError
from odise_trt.files.inputs import check_picture, find_images, find_inputs, suffixes
from odise_trt.files.paths import Found, Kind
from tests.odise_trt.results_beside import results_beside


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.png", "a.jpg", "deep/c.webp", "photo.overlay.png", "photo.panoptic.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    results_beside(tmp_path / "photo.json", "photo.jpg")
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_a_folder_gives_its_images_in_order_without_earlier_results(folder: Path) -> None:
    assert find_images([folder]) == [folder / "a.jpg", folder / "b.png"]


def test_a_glob_gives_what_it_matches_also_in_folders_within(folder: Path) -> None:
    assert find_images([f"{folder}/*.jpg"]) == [folder / "a.jpg"]
    assert folder / "deep" / "c.webp" in find_images([f"{folder}/**/*.webp"])


def test_an_image_named_twice_is_taken_once(folder: Path) -> None:
    assert find_images([folder / "b.png", folder, f"{folder}/b*"]) == [folder / "b.png", folder / "a.jpg"]


def test_one_name_is_not_its_letters(folder: Path) -> None:
    assert find_images(str(folder)) == find_images(folder) == find_images([folder])


def test_a_folder_given_twice_is_counted_once(folder: Path) -> None:
    once, twice = find_inputs([folder]), find_inputs([folder, folder])
    assert twice.images == once.images
    assert (
        twice.notes() == once.notes() == [f"{folder}: not taken: 1 folder, 3 own results, 1 not image (.txt)"]
    )


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "photo[1].png")
    assert find_images([tmp_path / "photo[1].png"]) == [tmp_path / "photo[1].png"]


def test_a_file_that_is_not_there_is_kept_to_be_reported(tmp_path: Path) -> None:
    assert find_images([tmp_path / "gone.jpg"]) == [tmp_path / "gone.jpg"]


def test_a_folder_without_images_is_an_error_that_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="has no images: it is empty"):
        find_images([tmp_path])
    (tmp_path / "a.heic").touch()
    with pytest.raises(ImageError, match=r"has no images, only: 1 HEIC \(not read: convert to JPEG\)"):
        find_images([tmp_path])


def test_every_suffix_of_a_format_that_is_read_is_taken(tmp_path: Path) -> None:
    assert {".jpg", ".jfif", ".jpe", ".mpo", ".ico", ".dib", ".j2k", ".apng", ".pbm", ".vda"} <= suffixes()
    assert not {".eps", ".pdf", ".heic", ".txt", ".svg"} & suffixes()
    for suffix in suffixes():
        (tmp_path / f"{suffix[1:]}{suffix.upper()}").touch()
    assert len(find_images([tmp_path])) == len(suffixes())


def test_what_is_not_taken_of_a_folder_is_counted_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for name in ("IMG_2.HEIC", ".DS_Store", "no_suffix", "city.panoptic.png"):
        Path(name).touch()
    Path("same.jpg").symlink_to("a.jpg")
    Path("gone.jpg").symlink_to("/nowhere.jpg")
    os.mkfifo("pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.png")
    inputs = find_inputs(["."])
    # The third is a picture of somebody: no JSON beside it says that it is a result.
    assert list(map(str, inputs.images)) == ["a.jpg", "b.png", "city.panoptic.png"]
    (line,) = inputs.notes()
    start, found = line.split(": not taken: ")
    assert start == "."
    assert set(found.replace(" (.txt, ", " (.txt; ").split(", ")) == {
        "1 HEIC (not read: convert to JPEG)",
        "1 broken link",
        "1 folder",
        "1 hidden",
        "1 pipe",
        "1 second name of a.jpg",
        "1 socket",
        "2 not images (.txt; without suffix)",
        "3 own results",
    }


@given(
    st.lists(
        st.sampled_from(
            [
                "a.jpg",
                "b.jfif",
                ".c.jpg",
                "d.HEIC",
                "e.txt",
                "f",
                "g.overlay.png",
                "h.json",
                "i.gif",
                "j.tar.gz",
            ]
        ),
        unique=True,
    )
)
def test_each_file_of_a_folder_is_taken_or_counted(names: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "iterdir", lambda _: iter([Path("photos") / name for name in names]))
        patch.setattr("odise_trt.files.inputs.kind_of", _folder_or_file)
        inputs = find_inputs(["photos"])
    counted = [one.path.name for one in inputs.skipped.get("photos", [])]
    if inputs.refused:  # no image at all
        assert not inputs.images
        assert not names or "only:" in str(inputs.refused[0].error)
    else:
        assert sorted([path.name for path in inputs.images] + counted) == sorted(names)


def _folder_or_file(path: str | Path) -> Found:
    return Found(Kind.FOLDER if str(path) == "photos" else Kind.FILE)


def test_many_second_names_are_one_number(tmp_path: Path) -> None:
    for number in range(5):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
        (tmp_path / f"z{number}.png").symlink_to(f"{number}.png")
    assert find_inputs([tmp_path]).notes() == [f"{tmp_path}: not taken: 5 second names"]


@pytest.mark.parametrize(
    "pattern",
    [
        "photos [2024]/*.jpg",
        "photos [2024]/**/*.jpg",
        "photo[st] ?2024?/p*.jpg",
        "*/[[]x]/../*.jpg",
        "photos [2024]/[p]hoto.jpg",
        "**/photo.jpg",
        "*[2024]/photo.jpg",
        "./photos [2024]/*.jpg",
    ],
)
def test_globs_find_what_is_in_folders_with_brackets(
    pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos [2024]/[x]").mkdir(parents=True)
    Path("photos [2024]/photo.jpg").touch()
    (image,) = find_images([pattern])
    assert image.resolve() == tmp_path.resolve() / "photos [2024]" / "photo.jpg"


def test_a_glob_ends_where_links_go_in_circles(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").touch()
    (tmp_path / "in" / "up").symlink_to("..")
    assert find_images([f"{tmp_path}/**/*.jpg"]) == [tmp_path / "in" / "a.jpg"]


def test_a_glob_counts_what_it_does_not_take_and_says_when_there_is_nothing(folder: Path) -> None:
    inputs = find_inputs([f"{folder}/*", f"{folder}/*.gif"])
    assert inputs.images == [folder / "a.jpg", folder / "b.png", folder / "notes.txt"]
    assert inputs.notes() == [f"{folder}/*: not taken: 1 folder, 3 own results"]
    assert [one.error.message for one in inputs.refused] == [f"{folder}/*.gif matches no file"]


def test_results_that_a_shell_names_beside_their_picture_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "a.overlay.png", "a.panoptic.png", "b.overlay.png"):
        Path(name).touch()
    results_beside(Path("a.json"), "a.png", "a.png")
    names = sorted(map(str, Path().iterdir()))
    assert list(map(str, find_images(names))) == ["a.png", "b.overlay.png"]
    # Alone, it is a picture like others.
    assert find_images(["a.overlay.png"]) == [Path("a.overlay.png")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no name"),
        ("https://example.org/a.jpg", "https://example.org/a.jpg is a URL"),
        ("s3://bucket/a.jpg", "s3://bucket/a.jpg is a URL"),
        ("FILE:///a.jpg", "by its path: /a.jpg"),
        ("nowhere/*.jpg", "nowhere/*.jpg matches no file"),
        ("[a-", None),
        ("x" * 300, None),
        ("a\0b.jpg", None),
        ("half\ud83d.jpg", None),
        ("~nobodyhere/x.jpg", None),
        ("/dev/null/x.jpg", None),
    ],
)
def test_one_name_that_gives_nothing_stops_no_other(text: str, says: str | None, folder: Path) -> None:
    inputs = find_inputs([text, folder / "a.jpg"])
    assert inputs.images[-1] == folder / "a.jpg"
    if says is not None:
        (refused,) = inputs.refused
        assert refused.name == text
        assert says in str(refused.error)
        return
    for one in [*inputs.images[:-1]]:
        with pytest.raises(ImageError):
            check_picture(one)


def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("nowhere")
    for path, says in (
        (tmp_path / "pipe.jpg", "is a pipe, not a file"),
        (tmp_path / "link.jpg", "is a broken link: it leads to nowhere"),
        (tmp_path, "is a folder"),
        (Path(os.devnull), "is a device"),
        (tmp_path / "gone.jpg", "No such file"),
    ):
        with pytest.raises(ImageError, match=says):
            check_picture(path)


def test_a_pipe_that_the_shell_has_opened_is_read() -> None:
    reader, writer = os.pipe()
    try:
        check_picture(Path(f"/dev/fd/{reader}"))
    finally:
        os.close(reader)
        os.close(writer)


def test_the_home_folder_is_put_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert find_images(["~/a.jpg", "~/*.png"])[0] == folder / "a.jpg"


def test_folders_that_may_not_be_read_are_reported_and_the_rest_is_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordinary = os.listdir

    def listdir(path: str | os.PathLike[str] = ".") -> list[str]:
        if os.fspath(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return ordinary(path)

    monkeypatch.setattr(os, "listdir", listdir)
    inputs = find_inputs([folder / "deep", f"{folder}/**/*.webp", folder / "a.jpg"])
    assert inputs.images == [folder / "a.jpg"]
    assert [one.error.message.endswith("Permission denied") for one in inputs.refused] == [True, True]

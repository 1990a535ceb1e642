"""What the results of a picture are called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odise_trt.files.output_names import fitting, output_names
from tests.odise_trt.results_beside import results_beside


def test_names_are_as_short_as_they_can_be_without_overwriting() -> None:
    images = ["in/cat.jpg", "in/dog.jpg", "in/dog.png", "in/bird.jpg", "other/bird.jpg", "in/Cat.png"]
    assert output_names(map(Path, images)) == [
        "cat.jpg",
        "dog.jpg",
        "dog.png",
        "in-bird.jpg",
        "other-bird.jpg",
        "Cat.png",
    ]


STEMS = st.sampled_from(
    ["a", "A", "a.jpg", "x-a", "a-2", "ß", "ss", "\u00e9", "e\u0301", "y" * 250, "Y" * 250]
)


@given(
    st.lists(
        st.tuples(st.sampled_from("xyX"), STEMS, st.sampled_from([".jpg", ".png", ".JPG", ""])), max_size=12
    )
)
def test_no_two_images_ever_share_a_name(paths: list[tuple[str, str, str]]) -> None:
    names = output_names(Path("/") / folder / (stem + suffix) for folder, stem, suffix in paths)
    assert len({name.casefold() for name in names}) == len(paths)
    assert all(len(os.fsencode(f"{name}.panoptic.png")) <= 255 for name in names)


@given(st.text(min_size=1).filter(lambda name: name not in (".", "..")), st.integers(100, 255))
def test_a_name_always_leaves_room_for_the_endings(name: str, limit: int) -> None:
    fitted = fitting(name, limit)
    encoded = fitted.encode(errors="surrogatepass")
    assert len(encoded) + len(".panoptic.png") <= limit
    assert fitted.encode(errors="surrogatepass").decode(errors="surrogatepass") == fitted
    assert fitting(fitted, limit) == fitted
    assert fitted == name or len(name.encode(errors="surrogatepass")) + len(".panoptic.png") + 6 > limit


@pytest.mark.parametrize("letter", ["x", "ж", "猫", "😀", "\udce9"])
def test_long_names_are_cut_between_letters_and_stay_different(letter: str, tmp_path: Path) -> None:
    long = letter * (250 // len(letter.encode(errors="surrogateescape")))
    one, other = fitting(long + "1"), fitting(long + "2")
    assert one != other
    assert one.startswith(letter * 20)
    for name in (one, other):
        (tmp_path / f"{name}.overlay.png").touch()


def test_a_backslash_is_a_letter() -> None:
    assert output_names([Path("in/b\\c.jpg")]) == ["b\\c"]


def test_a_picture_keeps_the_name_of_its_results_whatever_comes_with_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    jpg, png, far = (tmp_path / name for name in ("a/p.jpg", "a/p.png", "b/a/p.jpg"))

    def names(*images: Path) -> list[str]:
        found = output_names(images, out)
        for image, name in zip(images, found, strict=True):
            results_beside(out / f"{name}.json", image.name, os.path.relpath(image, out))
        return found

    assert names(jpg) == ["p"]
    assert names(jpg, png) == ["p", "p.png"]
    assert names(png) == ["p.png"]
    first = names(far, png, jpg)
    assert first[1:] == ["p.png", "p"]
    assert names(far) == first[:1]
    assert len(list(out.iterdir())) == 3


def test_names_do_not_depend_on_an_interruption(tmp_path: Path) -> None:
    pair = [tmp_path / "p.jpg", tmp_path / "p.png"]
    planned = output_names(pair, tmp_path)
    results_beside(tmp_path / f"{planned[0]}.json", "p.jpg", "p.jpg")
    assert output_names(pair, tmp_path) == planned


def test_the_name_of_results_of_another_picture_is_not_kept(tmp_path: Path) -> None:
    results_beside(tmp_path / "p.jpg.json", "p.jpg", "elsewhere/p.jpg")
    assert output_names([tmp_path / "p.jpg"], tmp_path) == ["p"]

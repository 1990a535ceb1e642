"""Which files are segmented, and under which names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from odise_trt.batch import find_images, output_names
from odise_trt.errors import ImageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.png", "a.jpg", "deep/c.webp", "photo.overlay.png", "photo.panoptic.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_a_folder_gives_its_images_in_order_without_earlier_results(folder: Path) -> None:
    assert find_images([folder]) == [folder / "a.jpg", folder / "b.png"]


def test_a_glob_gives_what_it_matches_also_in_folders_within(folder: Path) -> None:
    assert find_images([f"{folder}/*.jpg"]) == [folder / "a.jpg"]
    assert folder / "deep" / "c.webp" in find_images([f"{folder}/**/*.webp"])


def test_an_image_named_twice_is_taken_once(folder: Path) -> None:
    assert find_images([folder / "b.png", folder, f"{folder}/b*"]) == [folder / "b.png", folder / "a.jpg"]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "photo[1].png")
    assert find_images([tmp_path / "photo[1].png"]) == [tmp_path / "photo[1].png"]


def test_a_file_that_is_not_there_is_kept_to_be_reported(tmp_path: Path) -> None:
    assert find_images([tmp_path / "gone.jpg"]) == [tmp_path / "gone.jpg"]


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="has no images"):
        find_images([tmp_path])


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


STEMS = st.sampled_from(["a", "A", "a.jpg", "x-a", "a-2"])


@given(
    st.lists(
        st.tuples(st.sampled_from("xyX"), STEMS, st.sampled_from([".jpg", ".png", ".JPG", ""])), max_size=12
    )
)
def test_no_two_images_ever_share_a_name(paths: list[tuple[str, str, str]]) -> None:
    names = output_names(Path("/") / folder / (stem + suffix) for folder, stem, suffix in paths)
    assert len({name.casefold() for name in names}) == len(paths)

"""The examples in C++ read picture files as Python does."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from odise_trt.preprocess import load_image
from reference.scenes import make_scene

pytestmark = pytest.mark.slow


def read_by_cpp(build: Path, file: Path) -> np.ndarray:
    made = file.with_suffix(".ppm")
    subprocess.run([build / "tests" / "odise_convert", file, made], check=True)
    with Image.open(made) as image:
        return np.array(image)


def exif_of(orientation: int, order: bytes) -> bytes:
    exif = Image.Exif()
    exif.endian = "<" if order == b"II" else ">"
    exif[ExifTags.Base.Make] = "a camera with a long name"
    exif[ExifTags.Base.Orientation] = orientation
    data = exif.tobytes()
    assert order in data[:8]
    return data


@pytest.mark.parametrize("order", [b"II", b"MM"])
@pytest.mark.parametrize("orientation", range(10))
def test_a_picture_is_turned_as_its_exif_says(
    orientation: int, order: bytes, build: Path, tmp_path: Path
) -> None:
    pixels = make_scene(1).image[:50, :70]
    exif = exif_of(orientation, order)
    png, jpeg = tmp_path / "a.png", tmp_path / "b.jpg"
    Image.fromarray(pixels).save(png, exif=exif)
    Image.fromarray(pixels).save(jpeg, exif=exif, quality=95)
    assert np.array_equal(read_by_cpp(build, png), load_image(png))
    found, expected = read_by_cpp(build, jpeg).astype(int), load_image(jpeg).astype(int)
    assert found.shape == expected.shape
    # Decoders may round in other ways.
    assert np.abs(found - expected).mean() < 1


def test_damaged_exif_leaves_the_picture_as_it_is(build: Path, tmp_path: Path) -> None:
    pixels = make_scene(1).image[:50, :70]
    file = tmp_path / "a.png"
    whole = exif_of(6, b"II")
    for exif in (whole[:12], whole[:24], b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nothing"):
        Image.fromarray(pixels).save(file, exif=exif)
        assert np.array_equal(read_by_cpp(build, file), pixels)

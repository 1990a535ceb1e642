"""Pictures of the diffusion features: k-means, panels, and the command."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from odise_trt.errors import FeatureError
from odise_trt.features import Features
from reference.features.cluster import cluster
from reference.features.pictures import draw_features
from tests.door import call, verb

COMMAND = verb("reference.features.cli:features")


def photo(height: int, width: int) -> np.ndarray:
    """Left half red, right half blue, with a little noise."""
    pixels = np.random.default_rng(0).integers(0, 20, (height, width, 3)).astype(np.uint8)
    pixels[:, : width // 2, 0] += 200
    pixels[:, width // 2 :, 2] += 200
    return pixels


def test_groups_that_are_apart_are_found_the_largest_first_for_every_seed():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], [50, 30, 20]).reshape(10, 10)
    centres = np.array([[0, 0], [50, 0], [0, 50]], dtype=np.float32)
    values = centres[truth] + rng.normal(0, 1, (10, 10, 2)).astype(np.float32)
    for seed in range(3):
        labels = cluster(values, 3, seed)
        np.testing.assert_array_equal(labels, truth)
        np.testing.assert_array_equal(labels, cluster(values, 3, seed))


def test_what_is_too_large_to_look_at_in_full_is_grouped_in_full():
    truth = np.zeros((160, 160), dtype=int)
    truth[:, 100:] = 1
    values = (truth[..., None] * 10 + np.random.default_rng(0).random((160, 160, 3))).astype(np.float32)
    np.testing.assert_array_equal(cluster(values, 2), truth)


@pytest.mark.parametrize(
    ("values", "clusters", "match"),
    [
        (np.random.default_rng(0).random((2, 2, 3)), 5, "5 clusters cannot be made of 4 places"),
        (np.random.default_rng(0).random((2, 2, 3)), 1, "1 clusters cannot"),
        (np.zeros((4, 4, 3)), 2, "alike all over"),
        (np.full((4, 4, 3), np.nan), 2, "not finite"),
    ],
)
def test_what_cannot_be_grouped_is_said(values, clusters, match):
    with pytest.raises(FeatureError, match=match):
        cluster(values, clusters)


def features_of(values: np.ndarray, stride: int, size: tuple[int, int]) -> Features:
    """One map, un8, (C, h, w)."""
    return Features({"un8": values}, {"un8": stride}, size, size)


def test_a_pixel_has_the_colour_of_the_place_it_lies_in():
    # A photo of 6 x 10 pixels with stride 4: places of 4, then 2 pixels, and of 4, 4 and 2.
    features = features_of(np.zeros((1, 2, 3), np.float32), 4, (6, 10))
    places = np.array([[1, 2, 3], [4, 5, 6]])
    expected = np.repeat(np.repeat(places, [4, 2], axis=0), [4, 4, 2], axis=1)
    np.testing.assert_array_equal(features.enlarged("un8", places, 6, 10), expected)
    twice = expected.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(features.enlarged("un8", places, 12, 20), twice)


def test_the_picture_has_the_photo_and_a_panel_of_flat_colours_per_feature():
    values = np.zeros((1, 4, 4), np.float32)
    values[..., 2:] = 1
    pixels = photo(64, 64)
    picture = np.asarray(draw_features(pixels, features_of(values, 16, (64, 64)), clusters=2))
    panel = picture.shape[1] // 2 + 4
    left, right = picture[:512, panel : panel + 250], picture[:512, panel + 260 :]
    assert len(np.unique(left.reshape(-1, 3), axis=0)) == len(np.unique(right.reshape(-1, 3), axis=0)) == 1
    assert (left[0, 0] != right[0, 0]).any()
    # The photo is there as it is: red, then blue.
    assert picture[256, 100].argmax() == 0
    assert picture[256, 400].argmax() == 2


def test_the_command_writes_a_picture(tmp_path: Path):
    source, output = tmp_path / "photo.png", tmp_path / "out" / "features.png"
    Image.fromarray(photo(128, 200)).save(source)
    words = [str(source), "--weights", "random:3", "--feature", "enc5,un11", "--clusters", "3"]
    done = call(COMMAND, *words, "--output", output)
    assert (done.status, done.stdout.strip()) == (0, str(output)), done.stderr
    with Image.open(output) as picture:
        assert picture.format == "PNG"
        first = np.asarray(picture)
    assert call(COMMAND, *words, "--output", output).status == 0
    with Image.open(output) as picture:
        assert np.array_equal(np.asarray(picture), first)
    assert [path.name for path in output.parent.iterdir()] == ["features.png"]


@pytest.mark.parametrize("place", ["photo.png", "link.png", "other.png", "noise.png"])
def test_the_photo_and_files_of_others_stay(place: str, tmp_path: Path):
    source = tmp_path / "photo.png"
    Image.fromarray(photo(64, 64)).save(source)
    (tmp_path / "link.png").symlink_to(source)
    Image.fromarray(photo(32, 32)).save(tmp_path / "other.png")
    (tmp_path / "noise.png").write_bytes(b"no picture")
    before = (tmp_path / place).read_bytes()
    done = call(COMMAND, source, "--weights", "random:3", "--output", tmp_path / place)
    assert done.status == 1
    assert re.match("OutputError: .*(photo itself|does not hold features)", done.stderr)
    assert (tmp_path / place).read_bytes() == before


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["nowhere.jpg"], "ImageError"),
        (["photo.png", "--feature", "un9"], "FeatureError"),
        (["photo.png", "--weights", "nowhere.safetensors"], "WeightsError"),
        (["photo.png", "--preset", "tiny"], "PresetError"),
        (["photo.png", "--output", "features.jpg"], "OutputError"),
    ],
)
def test_the_command_names_what_is_wrong(words, error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo(64, 64)).save("photo.png")
    done = call(COMMAND, *words)
    assert done.status == 1
    assert done.stderr.startswith(f"{error}: ")
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]

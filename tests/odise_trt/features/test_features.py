"""Feature maps as a result: names, the file, and what it replaces."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odise_trt.errors import FeatureError, OutputError
from odise_trt.features import Features
from odise_trt.features.names import PROJECTED, RAW, requested

VALUES = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
FEATURES = Features(
    {"un8": VALUES, "s4": 2 * VALUES},
    {"un8": 16, "s4": 16},
    (64, 80),
    (32, 40),
    {"time_step": 0, "sd_version": "1.3", "image": "photo.jpg", "pixels": "12ab"},
)


def test_none_means_all_that_there_are() -> None:
    assert requested(None, 0) == RAW + PROJECTED
    assert requested(None, 0, raw=False) == PROJECTED
    assert requested(None, 100) == RAW
    assert requested(None, 100, raw=False) == RAW
    assert requested(None, 0, caption="empty") == RAW


def test_names_are_taken_once_and_in_their_order() -> None:
    assert requested("un8", 0) == ("un8",)
    assert requested(["s3", "un8", "s3"], 0) == ("s3", "un8")


@pytest.mark.parametrize(
    ("names", "step", "caption", "says"),
    [
        (["un9"], 0, "implicit", "there is no feature 'un9'"),
        ([], 0, "implicit", "there is no feature ''"),
        (["un8", "s2"], 100, "implicit", "no s2 at time step 100: the projections are trained at step 0"),
        (["s2"], 0, "empty", "no s2 with the empty caption"),
        (None, 1000, "implicit", "time step 1000 does not exist"),
        (None, -1, "implicit", "time step -1 does not exist"),
        (None, True, "implicit", "time step True does not exist"),
    ],
)
def test_what_there_is_not_is_said(names: list[str] | None, step: int, caption: str, says: str) -> None:
    with pytest.raises(FeatureError, match=says):
        requested(names, step, caption=caption)


def test_a_file_is_read_back_as_it_was(tmp_path: Path) -> None:
    path = FEATURES.save(tmp_path / "new" / "maps.npz")
    found = Features.load(path)
    assert (found.strides, found.size, found.image_size) == (FEATURES.strides, (64, 80), (32, 40))
    assert found.facts == FEATURES.facts
    assert list(found.maps) == ["un8", "s4"]
    for name, values in FEATURES.maps.items():
        assert found.maps[name].dtype == np.float32
        np.testing.assert_array_equal(found.maps[name], values)
    assert [one.name for one in path.parent.iterdir()] == ["maps.npz"]


def test_numpy_alone_reads_the_file_without_pickles(tmp_path: Path) -> None:
    with np.load(FEATURES.save(tmp_path / "maps.npz"), allow_pickle=False) as archive:
        assert set(archive.files) == {"about", "un8", "s4"}
        about = json.loads(str(archive["about"]))
    assert about["strides"] == {"un8": 16, "s4": 16}
    assert (about["size"], about["image_size"], about["sd_version"]) == ([64, 80], [32, 40], "1.3")


def test_half_precision_halves_the_maps(tmp_path: Path) -> None:
    found = Features.load(FEATURES.save(tmp_path / "maps.npz", half=True))
    assert found.maps["un8"].dtype == np.float16
    np.testing.assert_array_equal(found.maps["un8"], VALUES.astype(np.float16))


def test_a_number_that_half_precision_cannot_hold_is_an_error(tmp_path: Path) -> None:
    large = replace(FEATURES, maps={"un8": np.full((1, 1, 1), 7e4, np.float32)})
    with pytest.raises(FeatureError, match="un8 has numbers beyond float16"):
        large.save(tmp_path / "maps.npz", half=True)
    assert list(tmp_path.iterdir()) == []


def test_features_of_the_same_image_are_replaced_and_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "maps.npz"
    FEATURES.save(path)
    again = replace(FEATURES, facts={**FEATURES.facts, "time_step": 7})
    assert Features.load(again.save(path)).facts["time_step"] == 7
    other = replace(FEATURES, facts={**FEATURES.facts, "image": "other.jpg"})
    with pytest.raises(OutputError, match=r"holds features of another image: photo\.jpg"):
        other.save(path)
    assert Features.load(path).facts["image"] == "photo.jpg"
    other.save(path, overwrite=True)
    assert Features.load(path).facts["image"] == "other.jpg"


def test_images_that_were_no_files_are_known_by_their_pixels(tmp_path: Path) -> None:
    first = replace(FEATURES, facts={"image": None, "pixels": "1"})
    path = first.save(tmp_path / "maps.npz")
    first.save(path)
    with pytest.raises(OutputError, match="one that was no file"):
        replace(FEATURES, facts={"image": None, "pixels": "2"}).save(path)
    nameless = replace(FEATURES, facts={})
    nameless.save(tmp_path / "nameless.npz")
    with pytest.raises(OutputError, match="one that was no file"):
        nameless.save(tmp_path / "nameless.npz")


@pytest.mark.parametrize("content", [b"", b"mine", b"PK\x03\x04mine"])
def test_a_file_of_somebody_else_stays(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "maps.npz"
    path.write_bytes(content)
    with pytest.raises(OutputError, match="it holds no features of odise-trt"):
        FEATURES.save(path)
    assert path.read_bytes() == content
    with pytest.raises(FeatureError, match=r"maps\.npz"):
        Features.load(path)


def test_an_archive_without_our_mark_holds_no_features(tmp_path: Path) -> None:
    path = tmp_path / "maps.npz"
    np.savez(path, un8=VALUES)
    with pytest.raises(FeatureError, match="holds no features of odise-trt"):
        Features.load(path)
    np.save(tmp_path / "one.npy", VALUES)
    with pytest.raises(FeatureError, match="holds no features of odise-trt"):
        Features.load(tmp_path / "one.npy")


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"is no name of an \.npz file"):
        FEATURES.save(tmp_path / "maps.pth")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return FEATURES.save(tmp_path_factory.mktemp("saved") / "maps.npz")


@given(data=st.data())
def test_a_damaged_file_is_an_error_or_gives_maps_of_the_same_shapes(
    data: st.DataObject, saved: Path
) -> None:
    content = bytearray(saved.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= data.draw(st.integers(1, 255))
    else:
        del content[place:]
    damaged = saved.with_name("damaged.npz")
    damaged.write_bytes(content)
    try:
        found = Features.load(damaged)
    except FeatureError:
        return
    assert {name: values.shape for name, values in found.maps.items()} == {"un8": (3, 4, 5), "s4": (3, 4, 5)}

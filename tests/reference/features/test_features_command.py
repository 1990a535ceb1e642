"""`odise-trt features`: maps and pictures of one photo and of many."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from odise_trt.features import Features
from odise_trt.features.names import PROJECTED, RAW
from reference import checkpoint
from reference.checkpoint import describe_weights, save_weights
from reference.features.maps import feature_maps
from reference.preset import PRESETS
from tests.door import call, verb
from tests.odise_trt import toy_bundle
from tests.tiny_preset import TINY

#: Loading takes longer than computing the features of a tiny model, and nothing changes it.
load_weights = cache(checkpoint.load_weights)
COMMAND = verb("reference.features.cli:features")
MODEL = ["--preset", "tiny", "--weights", "random:3"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two photos, and the tiny preset."""
    monkeypatch.setitem(PRESETS, "tiny", TINY)
    monkeypatch.setattr(checkpoint, "load_weights", load_weights)
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("one.png", "two.png")):
        Image.fromarray(photo(number)).save(name)
    return tmp_path


def photo(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (128, 160, 3), np.uint8)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"one.png", "two.png"}


def test_all_maps_are_those_of_python() -> None:
    done = call(COMMAND, "one.png", *MODEL, "-o", "maps.npz")
    assert (done.status, done.stdout.strip()) == (0, "maps.npz"), done.stderr
    found = Features.load("maps.npz")
    expected = feature_maps(load_weights(TINY, "random:3"), photo())
    assert list(found.maps) == [*RAW, *PROJECTED]
    for name, values in found.maps.items():
        np.testing.assert_allclose(values, expected.maps[name], rtol=1e-4, atol=1e-5)
    assert found.facts["weights"] == "random:3"
    assert found.facts["seeded"] is True
    assert found.facts["image"] == "one.png"
    assert found.facts["sd_version"] == "unknown"


def test_options_reach_the_maps() -> None:
    words = ["--feature", "un8,enc5", "--time-step", "100", "--size", "64,72", "--half", "--caption", "empty"]
    done = call(COMMAND, "one.png", *MODEL, "-o", "maps.npz", *words)
    assert done.status == 0, done.stderr
    found = Features.load("maps.npz")
    assert list(found.maps) == ["un8", "enc5"]
    assert found.maps["un8"].dtype == np.float16
    assert (found.facts["time_step"], found.facts["caption"], found.size) == (100, "empty", (58, 72))


def test_maps_and_a_picture_come_from_one_call(place: Path) -> None:
    done = call(COMMAND, "one.png", *MODEL, "-o", "maps.npz", "--picture", "new/picture.png")
    assert done.stdout.split() == ["maps.npz", "new/picture.png"], done.stderr
    assert list(Features.load("maps.npz").maps) == [*RAW, *PROJECTED]
    with Image.open("new/picture.png") as picture:
        # The photo and the four features of the UNet: three columns, two rows.
        assert picture.width > picture.height
    assert names_in(place) == {"maps.npz", "new"}


def test_many_photos_go_into_a_folder_and_a_bad_one_stops_no_other(place: Path) -> None:
    (place / "bad.png").write_bytes(b"no picture")
    done = call(COMMAND, "one.png", "bad.png", "two.png", *MODEL, "-o", "maps", "--feature", "un11")
    assert done.status == 1
    assert done.stdout.split() == ["maps/one.features.npz", "maps/two.features.npz"]
    assert "ImageError: bad.png" in done.stderr
    assert "1 of 3 images have no features" in done.stderr
    assert names_in(place / "maps") == {"one.features.npz", "two.features.npz"}


def test_a_second_run_replaces_its_files_and_draws_no_pictures_of_pictures(place: Path) -> None:
    words = [".", *MODEL, "--picture", ".", "--feature", "un8", "--clusters", "2"]
    for _ in range(2):
        done = call(COMMAND, *words)
        assert done.status == 0, done.stderr
    assert names_in(place) == {"one.features.png", "two.features.png"}


def test_files_of_others_stay(place: Path) -> None:
    (place / "maps.npz").write_bytes(b"mine")
    done = call(COMMAND, "one.png", *MODEL, "-o", "maps.npz")
    assert (done.status, (place / "maps.npz").read_bytes()) == (1, b"mine")
    assert done.stderr.startswith("OutputError: maps.npz is there already, and it holds no features")
    assert call(COMMAND, "one.png", *MODEL, "-o", "maps.npz", "--feature", "un2").status == 1
    assert call(COMMAND, "one.png", *MODEL, "-o", "maps.npz", "--feature", "un2", "--overwrite").status == 0
    other = call(COMMAND, "two.png", *MODEL, "-o", "maps.npz", "--feature", "un2")
    assert "holds features of another image: one.png" in other.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["one.png", "two.png", "-o", "maps.npz"], "OutputError: maps.npz is one file for 2 photos"),
        (["one.png", "-o", "maps.pth"], "OutputError: maps.pth is no name of a .npz file, and no folder"),
        (
            ["one.png", "-o", "a.png", "--picture", "b.png"],
            "OutputError: a.png and b.png both name the picture",
        ),
        (["one.png", "--feature", "s9"], "FeatureError: there is no feature 's9'"),
        (["one.png", "--feature", "s2", "--time-step", "5"], "FeatureError: there is no s2 at time step 5"),
        (["one.png", "--time-step", "1000"], "FeatureError: time step 1000 does not exist"),
        (["one.png", "--feature", "s2", "--caption", "empty"], "FeatureError: there is no s2 with the empty"),
        (["one.png", "--size", "0"], "ArgumentError: short_side must be"),
        (["nowhere.png"], "ImageError: nowhere.png cannot be read"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(words: list[str], says: str, place: Path) -> None:
    done = call(COMMAND, *words, *MODEL)
    assert done.status == 1
    assert done.stderr.startswith(says)
    assert names_in(place) == set()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--size", "large"], "is not SHORT or SHORT,LONG"),
        (["--engines", "toy", "--weights", "demo"], "are for PyTorch"),
        (["--device", "cpu"], "are for --engines"),
    ],
)
def test_options_that_do_nothing_are_refused(words: list[str], says: str) -> None:
    done = call(COMMAND, "one.png", *words)
    assert done.status == 2
    assert says in done.stderr


@pytest.fixture
def frozen(place: Path) -> Path:
    """UNet, autoencoder and CLIP without anything trained, as made for another Stable Diffusion."""
    path = place / "one" / "frozen.safetensors"
    save_weights(path, load_weights(TINY, "random:3"), part="frozen", sd_version="1.5")
    return path


def test_the_frozen_part_alone_gives_raw_features_of_the_empty_caption(frozen: Path) -> None:
    done = call(COMMAND, "one.png", "--preset", "tiny", "--weights", frozen, "-o", "maps.npz")
    assert done.status == 0, done.stderr
    found = Features.load("maps.npz")
    assert list(found.maps) == list(RAW)
    assert (found.facts["caption"], found.facts["sd_version"]) == ("empty", "1.5")
    expected = feature_maps(load_weights(TINY, "random:3"), photo(), caption="empty")
    for name, values in found.maps.items():
        np.testing.assert_allclose(values, expected.maps[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "what"), [(["--feature", "un8,s2"], "s2"), (["--caption", "implicit"], "the implicit caption")]
)
def test_the_frozen_part_alone_has_nothing_that_is_trained(words: list[str], what: str, frozen: Path) -> None:
    done = call(COMMAND, "one.png", "--preset", "tiny", "--weights", frozen, "-o", "maps.npz", *words)
    assert done.status == 1
    assert done.stderr.startswith("FeatureError: ")
    assert f"has the frozen part of a model only, and {what} needs the trained part" in done.stderr


@pytest.mark.parametrize("version", [None, "", "1.3"])
def test_the_version_of_stable_diffusion_is_that_of_the_header(version: str | None, frozen: Path) -> None:
    with safe_open(frozen, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, frozen, None if version is None else {"sd_version": version})
    assert describe_weights(TINY, str(frozen)).get("sd_version") == (version or None)


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x02\0\0\0\0\0\0\0{}", b"\x02\0\0\0\0\0\0\0[]"])
def test_a_header_that_cannot_be_read_says_no_version(content: bytes, frozen: Path) -> None:
    frozen.write_bytes(content)
    assert "sd_version" not in describe_weights(TINY, str(frozen))


def test_engines_give_maps_and_pictures(place: Path) -> None:
    bundle = toy_bundle.make(place / "bundle" / "toy", raw=True)
    words = ["one.png", "--engines", bundle, "--threads", "1", "-o", "maps.npz", "--picture", "p.png"]
    done = call(COMMAND, *words)
    assert done.stdout.split() == ["maps.npz", "p.png"], done.stderr
    found = Features.load("maps.npz")
    assert list(found.maps) == [*RAW, *PROJECTED]
    assert found.facts["bundle"] == "toy"
    plain = toy_bundle.make(place / "bundle" / "plain")
    refused = call(COMMAND, "one.png", "--engines", plain, "--feature", "un8", "-o", "other.npz")
    assert refused.status == 1
    assert "--stage raw_features" in refused.stderr
    both = call(COMMAND, "one.png", "two.png", "--engines", plain, "--feature", "un8", "-o", "folder")
    assert both.stderr.count("has no stage 'raw_features'") == 1

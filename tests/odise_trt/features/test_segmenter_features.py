"""`Segmenter.features` on the toy bundle, whose maps are the colours, averaged per place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from odise_trt import Segmenter
from odise_trt.errors import ArgumentError, BackendError, BundleError, FeatureError, ImageError
from odise_trt.features.names import PROJECTED, RAW
from tests.odise_trt import toy_bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle.make(tmp_path_factory.mktemp("raw") / "toy-onnxruntime-fp32", raw=True)


@pytest.fixture(scope="module")
def segmenter(folder: Path):
    with Segmenter.open(folder, cache=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory):
    """A bundle without the optional stage."""
    with Segmenter.open(toy_bundle.make(tmp_path_factory.mktemp("plain") / "toy"), cache=False) as opened:
        yield opened


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


def averaged(image: np.ndarray, stride: int) -> np.ndarray:
    """(3, h, w): the mean of every place, with black beyond the edge."""
    height, width = (-(-side // stride) for side in image.shape[:2])
    padded = np.zeros((height * stride, width * stride, 3), np.float32)
    padded[: image.shape[0], : image.shape[1]] = image / np.float32(255)
    return padded.reshape(height, stride, width, stride, 3).mean(axis=(1, 3)).transpose(2, 0, 1)


def test_every_map_has_its_places_where_the_image_has_them(segmenter: Segmenter) -> None:
    image = noise(128, 200)  # of the model's size: it is not resized
    features = segmenter.features(image)
    assert list(features.maps) == [*RAW, *PROJECTED]
    assert features.strides == toy_bundle.RAW_LEVELS | toy_bundle.LEVELS
    assert (features.size, features.image_size) == ((128, 200), (128, 200))
    for name in RAW:
        values = features.maps[name]
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, averaged(image, features.strides[name]), atol=1e-6)
    assert features.maps["s5"].shape == (3, 4, 7)


def test_no_vocabulary_is_needed_and_what_made_the_maps_is_told(folder: Path) -> None:
    with Segmenter.open(folder, cache=False) as segmenter:
        features = segmenter.features(noise(64, 64), "s4")
        assert segmenter.vocabulary is None
    assert features.facts["preset"] == "toy"
    assert features.facts["bundle"] == "toy-onnxruntime-fp32"
    assert features.facts["caption"] == "implicit"
    assert features.facts["sd_version"] == "unknown"
    assert features.facts["image"] is None


def test_the_version_of_stable_diffusion_is_that_of_the_manifest(tmp_path: Path) -> None:
    weights = {"source": "w.safetensors", "sha256": "0" * 64, "seeded": False, "sd_version": "1.3"}
    bundle = toy_bundle.make(tmp_path / "toy", weights=weights)
    with Segmenter.open(bundle, cache=False) as segmenter:
        assert segmenter.features(noise(64, 64)).facts["sd_version"] == "1.3"


def test_the_time_step_goes_into_the_engine(segmenter: Segmenter) -> None:
    image = noise(128, 128)
    first, later = (segmenter.features(image, "un8", time_step=step) for step in (0, 100))
    np.testing.assert_allclose(later.maps["un8"], first.maps["un8"] + 100, rtol=1e-6)
    assert later.facts["time_step"] == 100
    assert list(segmenter.features(image, time_step=100).maps) == list(RAW)


def test_sides_are_those_that_are_given(segmenter: Segmenter) -> None:
    image = noise(64, 100)
    assert segmenter.features(image, "s4").size == (128, 200)
    assert segmenter.features(image, "s4", short_side=96).size == (96, 150)
    # The model's ratio is 320 to 128: a strip keeps a longer side of 2.5 times the shorter one.
    assert segmenter.features(noise(16, 160), "s4", short_side=256).size == (64, 640)
    assert segmenter.features(image, "s4", short_side=96, max_side=100).size == (64, 100)
    assert segmenter.features(image, "s4", short_side=200).maps["s4"].shape == (3, 13, 20)


@pytest.mark.parametrize(
    "sides", [{"short_side": 0}, {"short_side": 200, "max_side": 100}, {"max_side": True}]
)
def test_impossible_sides_are_refused(segmenter: Segmenter, sides: dict[str, int]) -> None:
    with pytest.raises(ArgumentError, match="side"):
        segmenter.features(noise(64, 64), "s4", **sides)


def test_batches_of_windows_give_the_same(folder: Path, segmenter: Segmenter) -> None:
    image = noise(300, 450)
    with Segmenter.open(folder, cache=False, max_windows=1) as single:
        for name, values in single.features(image, short_side=300).maps.items():
            np.testing.assert_array_equal(values, segmenter.features(image, short_side=300).maps[name])


def test_a_bundle_without_the_stage_says_how_to_add_it(plain: Segmenter) -> None:
    assert list(plain.features(noise(64, 64)).maps) == list(PROJECTED)
    for names, step in (("un8", 0), (None, 100)):
        with pytest.raises(BundleError, match="has no stage 'raw_features', which gives") as caught:
            plain.features(noise(64, 64), names, time_step=step)
        assert "python export/build_engines.py" in str(caught.value.hint)
        assert "--stage raw_features" in str(caught.value.hint)


def test_projected_features_exist_at_step_zero_only(segmenter: Segmenter) -> None:
    with pytest.raises(FeatureError, match="projections are trained at step 0"):
        segmenter.features(noise(64, 64), ["s2"], time_step=1)


def test_the_raw_engine_is_loaded_on_first_use_and_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Segmenter.open(folder, cache=False) as segmenter:
        opened: list[str] = []
        backend = segmenter._executor.backend
        usual = backend.open_stage

        def watched(place, entry):  # type: ignore[no-untyped-def]
            opened.append(entry.spec.name)
            return usual(place, entry)

        monkeypatch.setattr(backend, "open_stage", watched, raising=False)
        segmenter.features(noise(64, 64), "s2")
        assert opened == []
        for _ in range(2):
            segmenter.features(noise(64, 64), "un8")
        assert opened == ["raw_features"]


def test_a_closed_segmenter_and_an_unreadable_image_are_said(folder: Path, segmenter: Segmenter) -> None:
    with pytest.raises(ImageError):
        segmenter.features(b"no image")
    closed = Segmenter.open(folder, cache=False)
    closed.close()
    with pytest.raises(BackendError, match="was closed"):
        closed.features(noise(64, 64))


def test_features_of_engines_import_no_torch(folder: Path, tmp_path: Path) -> None:
    Image.fromarray(noise(64, 64)).save(tmp_path / "photo.png")
    words = ["features", str(tmp_path / "photo.png"), "--engines", str(folder), "-o", str(tmp_path / "m.npz")]
    code = (
        "import sys\n"
        "from odise_trt.cli import app\n"
        f"app({words!r}, standalone_mode=False)\n"
        "banned = {'torch', 'diffusers', 'transformers', 'open_clip', 'onnx', 'scipy'} & sys.modules.keys()\n"
        "assert not banned, banned\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m.npz").is_file()

"""Feature maps of a whole photo, computed in PyTorch."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from odise_trt.errors import FeatureError
from odise_trt.features.names import PROJECTED, RAW
from reference.ablation import Ablation
from reference.checkpoint import load_weights
from reference.features.maps import feature_maps
from reference.model import ODISE
from reference.model.ablations.ablate import ablate
from reference.model.bicubic import resize_bicubic
from reference.model.diffusion import STRIDES
from reference.model.raw_features import RawFeatures, fitted
from reference.model.windows import image_features
from tests.tiny_preset import TINY


@cache
def model() -> ODISE:
    return load_weights(TINY, "random:3")


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def planes(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


@torch.no_grad()
def test_a_photo_of_one_window_has_the_raw_features_of_the_diffusion_model() -> None:
    pixels = photo(TINY.window, TINY.window)  # of the preset's size: it is not resized
    window = planes(pixels)
    expected = model().backbone.diffusion(window, *model().captioner(window))
    features = feature_maps(model(), pixels, RAW)
    assert list(features.maps) == list(RAW)
    assert list(features.strides.values()) == [4, 8, 64, 32, 16, 8, 8, 4]
    for name, raw in zip(RAW, expected, strict=True):
        np.testing.assert_array_equal(features.maps[name], raw[0].numpy())


@torch.no_grad()
def test_windows_are_joined_in_place_and_padding_is_left_out() -> None:
    # 128 x 200, padded to 128 x 256: two windows.
    pixels = photo(128, 200)
    features = feature_maps(model(), pixels, "un8")
    assert (features.size, features.image_size) == ((128, 200), (128, 200))
    assert features.maps["un8"].shape == (64, 8, 13)
    right = torch.zeros(1, 3, 128, 128)
    right[..., :72] = planes(pixels)[..., 128:]
    raw = model().backbone.diffusion(right, *model().captioner(right))[RAW.index("un8")][0].numpy()
    np.testing.assert_allclose(features.maps["un8"][:, :, 8:], raw[:, :, :5], rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_the_pyramid_is_the_one_that_the_mask_head_takes() -> None:
    pixels = photo(128, 200)
    expected = image_features(model().backbone, model().pad(planes(pixels)))
    features = feature_maps(model(), pixels)
    assert list(features.maps) == [*RAW, *PROJECTED]
    for name, values in zip(PROJECTED, expected, strict=True):
        _, height, width = features.maps[name].shape
        assert (height, width) == tuple(-(-side // features.strides[name]) for side in (128, 200))
        np.testing.assert_allclose(
            features.maps[name], values[0, :, :height, :width].numpy(), rtol=1e-4, atol=1e-5
        )


def test_batches_of_windows_give_the_same_and_facts_are_kept() -> None:
    pixels = photo(100, 230)
    together = feature_maps(model(), pixels)
    single = feature_maps(model(), pixels, batch=1, facts={"sd_version": "1.3"})
    for name in together.maps:
        np.testing.assert_allclose(single.maps[name], together.maps[name], rtol=1e-3, atol=1e-4)
    assert single.facts == {**together.facts, "sd_version": "1.3"}
    assert together.facts.items() >= {"time_step": 0, "caption": "implicit", "preset": "tiny"}.items()
    assert together.facts["pixels"] != feature_maps(model(), pixels[:, ::-1], "un2").facts["pixels"]


@torch.no_grad()
def test_step_zero_of_any_step_is_exactly_the_step_of_the_model() -> None:
    windows = torch.rand(2, 3, TINY.window, TINY.window, generator=torch.Generator().manual_seed(0))
    condition = model().captioner(windows)
    expected = model().backbone.diffusion(windows, *condition)
    found = RawFeatures(model().backbone)(windows, *condition, torch.tensor([0]))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("step", [100, 999])
@torch.no_grad()
def test_another_step_is_that_of_the_ablated_model(step: int) -> None:
    windows = torch.rand(1, 3, TINY.window, TINY.window, generator=torch.Generator().manual_seed(0))
    ablated = load_weights(TINY.with_ablation(Ablation.parse(timesteps=str(step))), "random:3")
    condition = model().captioner(windows)
    expected = ablated.backbone.diffusion(windows, *condition)
    found = RawFeatures(model().backbone)(windows, *condition, torch.tensor([step]))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    # The autoencoder sees no noise, the UNet does.
    (first, later) = (feature_maps(model(), photo(64, 64), time_step=time).maps for time in (0, step))
    assert {name for name in RAW if np.array_equal(first[name], later[name])} == {
        "enc5",
        "enc7",
        "dec2",
        "dec5",
    }


@pytest.mark.parametrize("side", [64, 128, 192])
def test_features_of_small_windows_are_reduced_to_the_nearest_places(side: int) -> None:
    raw = [torch.rand(1, 2, 192 // stride, 192 // stride) for stride in STRIDES]
    for feature, found, stride in zip(raw, fitted(raw, side), STRIDES, strict=True):
        length = side // stride
        places = torch.arange(length) * (192 // stride) // length
        assert torch.equal(found, feature[..., places[:, None], places])


def test_a_strip_is_enlarged_for_the_model_and_its_features_are_reduced_again() -> None:
    with torch.no_grad():
        window = planes(photo(64, 64))
        raw = model().backbone.diffusion(resize_bicubic(window, TINY.window), *model().captioner(window))
    features = feature_maps(model(), photo(64, 64), "un8", short_side=64)
    expected = raw[RAW.index("un8")][0, :, ::2, ::2].numpy()
    np.testing.assert_allclose(features.maps["un8"], expected, rtol=1e-4, atol=1e-5)


def test_the_empty_caption_is_that_of_the_ablated_model() -> None:
    pixels = photo(64, 64)
    found = feature_maps(model(), pixels, caption="empty")
    assert list(found.maps) == list(RAW)
    assert found.facts["caption"] == "empty"
    ablated = ablate(load_weights(TINY, "random:3"), Ablation.parse(captioner="empty"))
    for name, values in feature_maps(ablated, pixels, RAW).maps.items():
        np.testing.assert_array_equal(found.maps[name], values)
    assert not np.array_equal(found.maps["un8"], feature_maps(model(), pixels, "un8").maps["un8"])


def test_sides_are_those_that_are_given() -> None:
    assert feature_maps(model(), photo(64, 96), "un8").size == (128, 192)
    assert feature_maps(model(), photo(64, 96), "un8", short_side=100).size == (100, 150)
    assert feature_maps(model(), photo(64, 96), "un8", short_side=64, max_side=72).size == (48, 72)


def test_what_contradicts_the_model_is_said() -> None:
    clip = load_weights(TINY.with_ablation(Ablation.parse(features="clip")), "random:3")
    with pytest.raises(FeatureError, match="no diffusion features"):
        feature_maps(clip, photo(64, 64))
    stepped = load_weights(TINY.with_ablation(Ablation.parse(timesteps="0+100")), "random:3")
    assert feature_maps(stepped, photo(64, 64), "un8").maps["un8"].shape[0] == 2 * 64
    with pytest.raises(FeatureError, match="has time steps of its own"):
        feature_maps(stepped, photo(64, 64), "un8", time_step=7)
    with pytest.raises(FeatureError, match="no s2 with the empty caption"):
        feature_maps(model(), photo(64, 64), "s2", caption="empty")


def test_other_sizes_of_photos_are_those_of_the_evaluation() -> None:
    larger = replace(TINY, short_side=192)
    found = feature_maps(load_weights(larger, "random:3"), photo(150, 90), "un8")
    assert found.size == (256, 154)

"""The recipe as a whole: on a GPU where there is one; on the CPU `make train-demo SMOKE=1` runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from reference.demo import raw_features
from reference.demo.recipe import SMOKE
from reference.demo.training import set_constants, train
from reference.errors import TrainingError
from reference.model import ODISE
from reference.preset import DEMO
from reference.weights.random import NOISE_SEED
from tests.door import call, verb


@pytest.mark.gpu
def test_every_part_learns_on_a_gpu(tmp_path: Path) -> None:
    """A part whose loss does not fall is an error."""
    label, caption = train(tmp_path, SMOKE, Console(quiet=True), torch.device("cuda"))
    assert {p.device.type for model in (label, caption) for p in model.parameters()} == {"cuda"}


def test_a_device_that_is_not_there_is_found_before_any_work(tmp_path: Path) -> None:
    words = ("--smoke", "--device", "abacus", "--output", tmp_path / "out")
    done = call(verb("reference.demo.cli:train_demo"), *words)
    assert done.status == 1
    assert "DeviceError: there is no device 'abacus'" in done.stderr
    assert not (tmp_path / "out").exists()


def test_features_of_other_scenes_or_weights_are_not_taken_for_these(tmp_path: Path) -> None:
    model = ODISE(DEMO)
    images = np.zeros((2, 256, 256, 3), np.uint8)
    assert len(raw_features.compute(model, images, tmp_path).features[0]) == 2
    with pytest.raises(TrainingError, match=r"features of 2 scenes, .* not of 1 scenes"):
        raw_features.compute(model, images[:1], tmp_path)
    next(model.backbone.diffusion.unet.parameters()).data.add_(1)
    with pytest.raises(TrainingError, match="features of 2 scenes, frozen part"):
        raw_features.compute(model, images, tmp_path)


def test_every_window_is_given_the_official_noise() -> None:
    model = ODISE(DEMO)
    set_constants(model)
    noise = model.backbone.diffusion.shared_noise
    expected = torch.randn(noise.shape, generator=torch.Generator().manual_seed(NOISE_SEED))
    assert torch.equal(noise, expected)

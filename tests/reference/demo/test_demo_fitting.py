"""Fitting goes on exactly where it was stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reference.demo.fitting import Schedule, fit
from reference.training.errors import TrainingError


def _fit(checkpoint: Path, steps: int = 12, **options: int) -> tuple[nn.Linear, list[float]]:
    torch.manual_seed(3)
    layer = nn.Linear(4, 2)

    def loss(rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        x = torch.from_numpy(rng.normal(size=(8, 4)).astype(np.float32))
        target = x[:, :2] * 2 + 0.01 * torch.randn(8, 2, generator=generator)
        return (layer(x) - target).pow(2).mean()

    losses = fit("layer", layer.named_parameters(), loss, Schedule(steps, 8, 0.05), checkpoint, **options)
    return layer, losses


def test_a_run_that_was_stopped_goes_on_with_the_numbers_it_would_have_had(tmp_path: Path) -> None:
    whole, expected = _fit(tmp_path / "whole.pt")
    _, first = _fit(tmp_path / "parts.pt", stop_after=5, every=3)
    assert first == expected[:5]
    resumed, losses = _fit(tmp_path / "parts.pt")
    assert losses == expected
    assert torch.equal(resumed.weight, whole.weight)


def test_a_finished_part_is_read_and_not_fitted_again(tmp_path: Path) -> None:
    first, losses = _fit(tmp_path / "layer.pt")
    stamp = (tmp_path / "layer.pt").stat().st_mtime_ns
    again, same = _fit(tmp_path / "layer.pt")
    assert (tmp_path / "layer.pt").stat().st_mtime_ns == stamp
    assert same == losses
    assert torch.equal(again.weight, first.weight)


def test_a_checkpoint_of_another_schedule_is_refused(tmp_path: Path) -> None:
    _fit(tmp_path / "layer.pt", stop_after=5)
    with pytest.raises(TrainingError, match=r"steps=12.* not Schedule\(steps=20"):
        _fit(tmp_path / "layer.pt", steps=20)


def test_the_loss_falls(tmp_path: Path) -> None:
    _, losses = _fit(tmp_path / "layer.pt", steps=60)
    assert np.mean(losses[-5:]) < 0.1 * np.mean(losses[:5])


@pytest.mark.parametrize(
    ("step", "factor"),
    # 5 steps of warm-up, then cos from 0 to pi over 95.
    [(0, 0.2), (4, 1.0), (5, 1.0), (100, 0.0), (5 + 95 // 2, 0.5 * (1 + np.cos(np.pi * 47 / 95)))],
)
def test_the_rate_rises_in_a_line_and_falls_as_a_cosine(step: int, factor: float) -> None:
    assert Schedule(100, 1, 1.0).factor(step) == pytest.approx(factor)

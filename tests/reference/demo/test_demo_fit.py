"""Fitting goes on exactly where it was stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from odise_trt.errors import OutputError
from reference.demo.fit import Schedule, fit
from reference.errors import DivergedError, TrainingError


def _nothing(step: int) -> float:
    return 1.0


def _fit(
    checkpoint: Path, steps: int = 12, happen: Callable[[int], float] = _nothing, **options: int
) -> tuple[nn.Linear, list[float]]:
    """`happen` is called in every step; the loss is multiplied by what it returns."""
    torch.manual_seed(3)
    layer = nn.Linear(4, 2)
    calls = 0

    def loss(rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        nonlocal calls
        calls += 1
        factor = happen(calls)
        x = torch.from_numpy(rng.normal(size=(8, 4)).astype(np.float32))
        target = x[:, :2] * 2 + 0.01 * torch.randn(8, 2, generator=generator)
        return factor * (layer(x) - target).pow(2).mean()

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


def _failing(step: int) -> float:
    if step == 5:
        raise RuntimeError("a fault")
    return 1.0


def _second_request(step: int) -> float:
    if step == 5:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    return 1.0


def _diverging(step: int) -> float:
    return float("nan") if step == 5 else 1.0


@pytest.mark.parametrize("happen", [_failing, _second_request, _diverging])
def test_whatever_ends_a_part_its_last_step_is_kept(tmp_path: Path, happen: Callable[[int], float]) -> None:
    whole, expected = _fit(tmp_path / "whole.pt")
    with pytest.raises((RuntimeError, KeyboardInterrupt, DivergedError)):
        _fit(tmp_path / "parts.pt", happen=happen)
    assert len(torch.load(tmp_path / "parts.pt", weights_only=True)["losses"]) == 4
    resumed, losses = _fit(tmp_path / "parts.pt")
    assert losses == expected
    assert torch.equal(resumed.weight, whole.weight)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_part_after_its_step(tmp_path: Path, number: int) -> None:
    def request(step: int) -> float:
        if step == 5:
            signal.raise_signal(number)
        return 1.0

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        _fit(tmp_path / "layer.pt", happen=request)
    assert len(torch.load(tmp_path / "layer.pt", weights_only=True)["losses"]) == 5


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut off"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "layer.pt").write_bytes(content)
    with pytest.raises(TrainingError, match=r"layer\.pt cannot be read") as caught:
        _fit(tmp_path / "layer.pt")
    assert "remove it" in str(caught.value)


def test_a_checkpoint_of_other_content_is_named(tmp_path: Path) -> None:
    torch.save({"schedule": None}, tmp_path / "layer.pt")
    with pytest.raises(TrainingError, match=r"layer\.pt"):
        _fit(tmp_path / "layer.pt")


def test_a_checkpoint_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="is not a folder"):
        _fit(tmp_path / "file" / "layer.pt", steps=2)


def test_progress_is_told_in_lines_where_the_output_is_a_file(tmp_path: Path, capsys) -> None:
    _fit(tmp_path / "layer.pt", steps=3)
    assert "layer: step 3 of 3, loss " in capsys.readouterr().out

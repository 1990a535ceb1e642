"""The whole recipe runs where there is a GPU; without one, `make train-demo SMOKE=1` runs it on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rich.console import Console

from reference.demo.recipe import SMOKE
from reference.demo.training import train


@pytest.mark.gpu
def test_every_part_learns_on_a_gpu(tmp_path: Path) -> None:
    """A part whose loss does not fall is an error."""
    label, caption = train(tmp_path, SMOKE, Console(quiet=True), torch.device("cuda"))
    assert {p.device.type for model in (label, caption) for p in model.parameters()} == {"cuda"}

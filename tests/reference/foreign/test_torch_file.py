"""What PyTorch loads is checked again, whatever the checks before it have let through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from odise_trt.errors import WeightsError
from reference.foreign.archive import Member, read_archive
from reference.foreign.torch_file import load_checked
from tests.attacks import assembling as by_hand


def load_unchecked(path: Path) -> object:
    return load_checked(read_archive(path), ())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.zeros(1).expand(1000), "reaches beyond its data"),
        (lambda: torch.eye(2).to_sparse(), "of an unusual kind"),
        (lambda: torch.zeros(2, dtype=torch.complex64), "of an unusual kind"),
        (lambda: torch.empty(2, device="meta"), "of an unusual kind"),
    ],
)
@pytest.mark.parametrize("inside", [lambda x: x, lambda x: {"a": [(x,)]}])
def test_an_unusual_tensor_is_found_after_loading(make, message, inside, tmp_path):
    torch.save(inside(make()), tmp_path / "f.pth")
    with pytest.raises(WeightsError, match=message):
        load_unchecked(tmp_path / "f.pth")


@pytest.mark.parametrize(
    "lie",
    [
        by_hand.tensor((2, 4), (4, 1)),
        by_hand.tensor((10**6, 10**6), (10**6, 1)),
        by_hand.tensor((10**6, 3), (0, 1)),
        by_hand.tensor(offset=1),
        by_hand.tensor(stride=(-3, 1)),
        by_hand.tensor(held=by_hand.storage("1")),
    ],
)
def test_a_tensor_that_lies_is_found_by_PyTorch_or_after_it(lie, tmp_path):
    path = by_hand.archive(tmp_path / "f.pth", by_hand.members(by_hand.program(by_hand.dictionary(a=lie))))
    with pytest.raises(WeightsError):
        load_unchecked(path)


def test_a_name_that_no_check_has_seen_is_refused_by_PyTorch(tmp_path):
    torch.save({"a": nn.Linear(1, 1)}, tmp_path / "f.pth")
    with pytest.raises(WeightsError, match="cut off or damaged: Weights only load failed"):
        load_unchecked(tmp_path / "f.pth")


@pytest.mark.parametrize(
    "other",
    [
        lambda archive: replace(archive, pickle=archive.pickle + b" "),
        lambda archive: replace(archive, members={**archive.members, "data/0": Member(0, 24)}),
        lambda archive: replace(archive, members={**archive.members, "data/1": Member(0, 24)}),
    ],
)
def test_an_archive_that_PyTorch_sees_otherwise_is_refused(other: Callable, tmp_path):
    archive = read_archive(by_hand.archive(tmp_path / "f.pth", by_hand.members()))
    load_checked(archive, ())
    with pytest.raises(WeightsError, match="PyTorch reads other entries"):
        load_checked(other(archive), ())

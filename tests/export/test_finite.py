"""Weights with numbers that are none never become a bundle."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from export import build as building
from export.console import ConsoleReporter
from export.model_spec import check_constants, constants, require_finite
from export.plan import Request
from export.tokenizer import check_tokenizer, write_tokenizer
from odise_trt.errors import ExportError
from reference.checkpoint import load_weights, slots
from reference.model import ODISE


@pytest.fixture(scope="module")
def model() -> ODISE:
    return load_weights("demo", "random:7")


CONSTANTS = {
    "null_embed": "category_head.null_embed",
    "logit_scale": "mask_head.predictor.post_mask_embed.logit_scale",
    "clip_logit_scale": "clip.logit_scale",
}


def spoilt(model: ODISE, name: str) -> ODISE:
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.get_parameter(name).fill_(math.nan)
    return other


@pytest.mark.parametrize("constant", CONSTANTS)
def test_a_constant_that_is_not_finite_ends_the_build_before_any_export(
    constant: str, model: ODISE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "load_model", lambda request: spoilt(model, CONSTANTS[constant]))
    request = Request("demo", "random:7", stages=("clip_pool",), output=tmp_path)
    refused = pytest.raises(ExportError, match=f"the reference's {constant} is not finite")
    with refused, ConsoleReporter(Console(quiet=True)) as reporter:
        building.build(request, reporter)
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=25, deadline=None)
@given(data=st.data(), value=st.sampled_from([math.nan, math.inf, -math.inf]))
def test_one_bad_number_anywhere_is_found(data: st.DataObject, value: float, model: ODISE) -> None:
    slot = data.draw(st.sampled_from([slot for slot in slots(model) if slot.tensor.is_floating_point()]))
    place = data.draw(st.integers(0, slot.tensor.numel() - 1))
    with torch.no_grad():
        number = slot.tensor.view(-1)[place].clone()
        slot.tensor.view(-1)[place] = value
        try:
            with pytest.raises(ExportError, match="is not finite"):
                require_finite(model)
        finally:
            slot.tensor.view(-1)[place] = number


def test_good_weights_are_finite(model: ODISE) -> None:
    require_finite(model)
    require_finite(load_weights("demo", "demo"))


@pytest.mark.parametrize("change", ["another number", "one left out", "one more"])
def test_constants_are_compared_with_the_reference(change: str, model: ODISE, tmp_path: Path) -> None:
    values = constants(model)
    np.savez(tmp_path / "constants.npz", allow_pickle=False, **values)
    check_constants(tmp_path / "constants.npz", model)
    if change == "another number":
        values["null_embed"] = values["null_embed"] * 1.001
    elif change == "one left out":
        del values["clip_logit_scale"]
    else:
        values["more"] = values["logit_scale"]
    np.savez(tmp_path / "constants.npz", allow_pickle=False, **values)
    with pytest.raises(ExportError, match=r"constants\.npz is not what"):
        check_constants(tmp_path / "constants.npz", model)


def test_a_tokenizer_is_compared_with_clips(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    write_tokenizer(path)
    check_tokenizer(path, ["cup", "don't  PANIC", "Tüte & mehr", "a 🦊"])
    content = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = content["model"]["vocab"]
    vocabulary["cup</w>"], vocabulary["table</w>"] = vocabulary["table</w>"], vocabulary["cup</w>"]
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ExportError, match="of 'cup', CLIP makes"):
        check_tokenizer(path, ["purse", "cup"])

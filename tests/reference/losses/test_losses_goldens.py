"""One training step is the official code's: every loss, every match, every gradient."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
import torch

from reference.losses import training_losses
from tests.check_golden import Row, check_training
from tests.golden_case import GOLDENS, load_golden_model
from tests.golden_outputs import NEVER
from tests.golden_training import Replay, TrainingCase

#: A step takes half a minute. What differs in caption models is compared in test_losses_terms.py, too.
KINDS = ("label", pytest.param("caption", marks=pytest.mark.slow))
PREDICTIONS = ("", "_0", "_1", "_2")


def _case(kind: str) -> TrainingCase:
    return TrainingCase.load(GOLDENS / f"golden_{kind}_train.npz")


@cache
def _rows(kind: str) -> dict[str, Row]:
    return {row.name: row for row in check_training(_case(kind), load_golden_model(kind))}


def _off(kind: str, *prefixes: str) -> list[Row]:
    rows = [row for row in _rows(kind).values() if row.name.startswith(prefixes)]
    assert rows, "nothing was compared"
    return [row for row in rows if row.verdict != "ok"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_loss_of_every_prediction_is_the_official_one(kind: str):
    terms = ["loss_ce", "loss_mask", "loss_dice", *(["loss_mask_word"] if kind == "caption" else [])]
    expected = {f"loss.{term}{suffix}" for term in terms for suffix in PREDICTIONS}
    assert expected < set(_rows(kind))
    assert _off(kind, "loss", "unweighted.") == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_matched_pairs_are_the_official_ones(kind: str):
    assert {f"match0{prediction}_b{image}" for prediction in range(4) for image in range(2)} < set(
        _rows(kind)
    )
    assert _off(kind, "match") == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_gradient_is_the_official_one(kind: str):
    names = set(_case(kind).gradient_names)
    trainable = {name for name, p in load_golden_model(kind).named_parameters() if p.requires_grad}
    assert names == trainable
    assert {f"grad_norm.{name}" for name in names} < set(_rows(kind))
    assert _off(kind, "grad") == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_forward_pass_is_the_official_one(kind: str):
    assert _off(kind, "w0.", "w1.", "backbone.", "pixel_decoder.", "decoder.", "category_", "word_") == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_array_of_a_file_is_an_input_or_compared(kind: str):
    marks = ("__shape", "__stride", "__stats")
    inputs = {"images_uint8", "gt_masks_packed", "gt_masks_shape", "gt_classes", "words_json"}
    for array in _case(kind).arrays:
        name = array.partition("__")[0] if array.endswith(marks) else array
        known = name in inputs | {"grad_norms", "grad_names_json"} or name.startswith(("rand", "points"))
        assert known or name in _rows(kind), array


# The losses themselves are those of the tests above, the features those of the pruned way in test_model.py.
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_training_step_gives_these_losses_and_no_others(kind: str):
    case = _case(kind)
    with torch.no_grad():
        losses = training_losses(
            load_golden_model(kind), case.batch, config=case.config, draws=Replay(case.arrays)
        )
    golden = {name: float(value) for name, value in case.arrays.items() if name.startswith("loss.")}
    assert {f"loss.{name}": float(loss) for name, loss in losses.items()} == pytest.approx(golden, rel=1e-4)


@pytest.mark.slow
def test_in_double_precision_what_is_left_is_the_rounding_of_the_official_code():
    case = _case("label")
    run = case.run(load_golden_model("label"), "pruned", torch.float64)
    ours, golden = case.computed(run), case.recorded()
    floor = json.loads((GOLDENS / "noise_floor_label_train.json").read_text())
    gradients = [name for name in floor if name.startswith("grad.")]
    distances = {name: golden[name].distance(ours[name]) for name in gradients}
    # Below 2e-6 it matters that the inputs of both are float32 numbers.
    assert distances == pytest.approx({name: floor[name] for name in gradients}, rel=0.02, abs=2e-6)


def test_a_changed_gradient_loss_or_match_is_off():
    # Of what was computed nothing is kept, so it stands in for itself: the file, with three changes.
    case = _case("label")
    golden = case.recorded()
    name = "grad.category_head.null_embed"
    case.arrays[name] = case.arrays[name] + np.float32(2e-3) * np.abs(case.arrays[name]).max()
    case.arrays["loss.loss_dice_1"] = case.arrays["loss.loss_dice_1"] * np.float32(1.0002)
    case.arrays["match02_b1"] = case.arrays["match02_b1"][:, ::-1]
    changed = case.recorded()
    off = {key for key, output in golden.items() if not changed[key].distance(output) <= output.tolerance}
    assert off == {name, "loss.loss_dice_1", "match02_b1"}
    assert changed["match02_b1"].distance(golden["match02_b1"]) == NEVER


def test_draws_that_do_not_fit_the_file_are_refused():
    case = _case("caption")
    draws = Replay(case.arrays)
    with pytest.raises(ValueError, match="random numbers"):
        draws.uniform((1, 255, 2), torch.device("cpu"))
    with pytest.raises(ValueError, match="recorded are"):
        draws.words(("house",), 8)

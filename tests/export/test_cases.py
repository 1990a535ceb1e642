"""A stage of a model that is read on demand becomes the same graph, with its weights in memory alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from export import cases
from export.cases import holding_stages, reference_cases
from export.checked_export import Task, export_checked
from export.plan import Request
from export.stage_work import names_used
from export.stages import all_stages
from reference.checkpoint import load_weights
from reference.on_demand import OnDemand
from tests.tiny_preset import TINY

REQUEST = Request("tiny", "random:7", parity_limits={"windows": 1})


@pytest.fixture(scope="module")
def partly() -> OnDemand:
    return OnDemand(TINY, "random:7", small=2**10)


@pytest.mark.parametrize("precision", [pytest.param("fp32", marks=pytest.mark.slow), "fp16"])
def test_a_stage_read_on_demand_becomes_the_same_graph(
    precision: str, partly: OnDemand, tmp_path: Path
) -> None:
    task, whole = Task("text_encoder", precision), load_weights(TINY, "random:7")
    one, other = (export_checked(m, task, REQUEST, tmp_path / str(n)) for n, m in enumerate((whole, partly)))
    assert one.graph.path.read_bytes() == other.graph.path.read_bytes()
    assert [row.relative_l2 for row in one.rows] == [row.relative_l2 for row in other.rows]
    assert not list(tmp_path.rglob("*.npy"))
    texts = set(partly.text_head.parameters())
    assert all(value.is_meta for value in {*partly.parameters()} - texts if value.nbytes > 2**10)


def test_a_stage_holds_what_it_uses_and_no_more(partly: OnDemand) -> None:
    with holding_stages(partly, ["text_encoder"]):
        there = {name for name, value in partly.named_parameters() if not value.is_meta}
        assert any("clip.transformer" in name for name in there)
        assert not any(
            "clip.visual" in name and value.nbytes > 2**10
            for name, value in partly.named_parameters()
            if name in there
        )


def test_examples_that_need_another_stage_run_before_it_and_without_it(
    partly: OnDemand, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[tuple[str, ...]] = []
    real = cases.holding_stages
    monkeypatch.setattr(cases, "holding_stages", lambda m, names: held.append(tuple(names)) or real(m, names))
    wrapper = all_stages()["features"]
    spec = wrapper.spec(TINY, "fp32")
    found = reference_cases(wrapper(partly).eval(), partly, spec, [{"windows": 1, "side": 64}])
    assert held == [("captioner",), ("features",)]
    whole = load_weights(TINY, "random:7")
    expected = reference_cases(wrapper(whole).eval(), whole, spec, [{"windows": 1, "side": 64}])
    for one, other in zip(found[0].outputs, expected[0].outputs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_large_arrays_wait_on_disk_and_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "_SMALL", 1000)
    wrapper, model = all_stages()["clip_pool"], load_weights(TINY, "random:7")
    stage, spec, sizes = wrapper(model).eval(), wrapper.spec(TINY, "fp32"), [{"height": 64, "width": 64}]
    there, waiting = (reference_cases(stage, model, spec, sizes, folder)[0] for folder in (None, tmp_path))
    assert len(list(tmp_path.rglob("*.npy"))) == 3
    for one, other in zip(there.inputs + there.outputs, waiting.inputs + waiting.outputs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_names_of_what_a_stage_uses_are_names_of_the_model() -> None:
    model = load_weights(TINY, "random:7")
    known = model.state_dict().keys()
    used = names_used(TINY, ["mask_head", "classify"])
    assert used["mask_head"] <= known
    assert len(used["mask_head"]) > 100


def test_tensors_without_numbers_are_not_made_half(partly: OnDemand) -> None:
    from export.precision import HalfStage

    wrapper = all_stages()["text_encoder"]
    spec = wrapper.spec(TINY, "fp16")
    half = HalfStage(wrapper(partly), spec.outputs, wrapper.float32)
    assert {value.device for value in half.parameters()} >= {torch.device("meta")}

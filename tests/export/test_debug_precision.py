"""A layer that half precision breaks is named."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from export.debugging.nodes import NodeError, entering, steepest
from export.debugging.precision import LayerErrors, layer_errors
from export.debugging.sources import find
from export.stages import StageWrapper
from odise_trt.errors import BundleError, ExportError
from tests.door import call, verb
from tests.export.tiny_stages import rows_to_rows, stage_of

MODEL: Any = SimpleNamespace(preset=None)


class Block(nn.Module):
    """Two layers with a jump between them: the second one can be made to overflow."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.second, self.last = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 8)
        with torch.no_grad():
            self.first.weight *= 20
            self.second.weight *= scale
            self.last.weight /= 20 * scale

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.second(torch.relu(self.first(x)))))  # type: ignore[no-any-return]


def stage(scale: float) -> StageWrapper:
    return stage_of(lambda self, x: self.block(x), rows_to_rows(), block=Block(scale))


@pytest.fixture(scope="module")
def overflowing() -> LayerErrors:
    return layer_errors(stage(60_000), MODEL)


def test_the_layer_that_overflows_is_named_with_what_it_needs(overflowing: LayerErrors) -> None:
    assert not any(row.passed for row in overflowing.rows)
    (first, *_) = entering(overflowing.nodes, overflowing.tolerance)
    assert first.module == "block.second"
    assert first.largest > 65_504
    assert first.not_finite > 0
    assert first.given < 1e-3
    assert first.found == math.inf


def test_layers_before_it_are_exact_and_those_after_it_are_not_blamed(overflowing: LayerErrors) -> None:
    modules = [error.module for error in entering(overflowing.nodes, overflowing.tolerance)]
    assert set(modules) == {"block.second"}
    before = [error for error in overflowing.nodes if error.module == "block.first"]
    assert before != []
    assert all(0 < error.found < 1e-3 for error in before)
    assert [error.operator for error in overflowing.nodes if error.given == math.inf] == ["Relu", "Gemm"]


def test_weights_have_their_float32_numbers_in_the_float32_graph(overflowing: LayerErrors) -> None:
    # Three weights and three biases. A bias that is added after a product may be there too.
    assert overflowing.exact == 6


def test_a_stage_that_half_precision_does_not_break_blames_nobody() -> None:
    found = layer_errors(stage(2.0), MODEL)
    assert all(row.passed for row in found.rows)
    assert entering(found.nodes, found.tolerance) == ()
    assert max(error.found for error in found.nodes) < 1e-2


def node(name: str, given: float, found: float) -> NodeError:
    return NodeError(name, "Add", f"{name}/Add", given, found, 1.0, 0)


def test_the_steepest_layers_come_in_the_order_they_run() -> None:
    nodes = [node("a", 0, 1e-6), node("b", 1e-3, 5e-2), node("c", 5e-2, 5e-2), node("d", 5e-2, math.inf)]
    # Two distances that are both rounding are no jump: "a" is 1e-6 of 4.9e-4.
    assert [error.module for error in steepest(nodes, 2)] == ["b", "d"]
    after = [*nodes, node("e", math.inf, math.inf)]
    assert [error.module for error in steepest(after, 2)] == ["b", "d"]


def test_a_stage_that_stays_in_float32_is_refused() -> None:
    kept = stage(1.0)
    type(kept).fp16 = False
    with pytest.raises(ExportError, match="computes in fp32 in an fp16 build"):
        layer_errors(kept, MODEL)


def test_the_verb_prints_the_layer_and_what_to_do(
    overflowing: LayerErrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.debugging.sources.find", lambda *options: overflowing)
    done = call(verb("export.debugging.cli:app"), "precision", "rows")
    assert done.status == 0
    (line,) = (line for line in done.stdout.splitlines() if line.endswith("  block.second"))
    given, found, largest, not_finite, operator, _ = line.split()
    assert (found, operator) == ("inf", "Gemm")
    assert float(given) < 1e-3
    assert float(largest) > 65_504
    assert int(not_finite) > 0
    assert done.stdout.splitlines()[-1].endswith("keep its weights float32: block.second")


def test_the_verb_prints_every_node_for_scripts(
    overflowing: LayerErrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.debugging.sources.find", lambda *options: overflowing)
    done = call(verb("export.debugging.cli:app"), "precision", "rows", "--json")
    nodes = [json.loads(line) for line in done.stdout.splitlines()]
    assert [node["module"] for node in nodes] == [node.module for node in overflowing.nodes]


def test_a_stage_or_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"'feature'.*\n.*did you mean features\?"):
        find("feature", None, None, None)
    with pytest.raises(ExportError, match="preset odise-label needs --weights"):
        find("features", "odise-label", None, None)
    with pytest.raises(BundleError):
        find("features", None, None, tmp_path)

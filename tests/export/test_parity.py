"""Parity checks find what is wrong, and say where."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from export.cases import reference_cases
from export.graph_runner import runner
from export.onnx_export import OnnxFile, export_stage
from export.parity import Case, _explained, check_onnx, check_sizes, relative_l2, require
from export.report import write_report
from export.stages import STAGES
from odise_trt.bundle.manifest import Parity
from odise_trt.errors import ExportError, ParityError
from odise_trt.stage_spec import StageSpec
from reference.preset import DEMO, ODISE_LABEL
from tests.export.tiny_stages import Pyramid, rows_to_rows, stage_of


def cases(stage, spec: StageSpec) -> list[Case]:  # type: ignore[no-untyped-def]
    return reference_cases(stage, None, spec, check_sizes(spec))  # type: ignore[arg-type]


def compared(exported: OnnxFile, spec: StageSpec, given: list[Case], precision: str) -> tuple[Parity, ...]:
    with runner(exported, spec, precision) as run:
        return check_onnx(run, spec, given, precision)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_right_export_passes_at_every_size(precision: str, tmp_path: Path) -> None:
    stage = Pyramid().eval()
    spec = stage.declare().at(precision)
    exported = export_stage(stage, spec, tmp_path, precision=precision)
    rows = compared(exported, spec, cases(stage, spec), precision)
    require(rows)
    assert {(row.sizes["windows"], row.sizes["side"]) for row in rows} == {
        (1, 128),
        (2, 128),
        (5, 128),
        (1, 64),
    }
    assert all(row.relative_l2 > 0 for row in rows)


def test_an_export_that_is_off_by_a_thousandth_is_caught_and_named(tmp_path: Path) -> None:
    def forward(self, x):  # type: ignore[no-untyped-def]
        y = self.linear(x)
        return y * 1.001 if torch.compiler.is_exporting() else y

    spec = rows_to_rows().at("fp32")
    stage = stage_of(forward, spec, linear=nn.Linear(8, 8))
    exported = export_stage(stage, spec, tmp_path, precision="fp32")
    rows = compared(exported, spec, cases(stage, spec), "fp32")
    assert not any(row.passed for row in rows)
    assert all(row.relative_l2 == pytest.approx(1e-3, rel=1e-2) for row in rows)
    with pytest.raises(ParityError, match=r"rows\.y at windows=5: relative L2 1\.00e-03, tolerance 1e-04"):
        require(rows)


def test_an_export_that_is_wrong_at_one_batch_only_is_caught(tmp_path: Path) -> None:
    def forward(self, x):  # type: ignore[no-untyped-def]
        # A batch constant that leaked into the graph: the mean over rows 0 and 1 only.
        return x - (x[:2] if torch.compiler.is_exporting() else x).mean(0)

    spec = rows_to_rows().at("fp32")
    stage = stage_of(forward, spec)
    exported = export_stage(stage, spec, tmp_path, precision="fp32")
    rows = compared(exported, spec, cases(stage, spec), "fp32")
    assert {row.sizes["windows"]: row.passed for row in rows} == {1: True, 2: True, 5: False}


def test_a_tie_does_not_condemn_a_stage_and_an_error_does(tmp_path: Path) -> None:
    # A hard decision: rows on one side of zero become -1, on the other 1. The exported one tips at 1e-5.
    def forward(self, x):  # type: ignore[no-untyped-def]
        return torch.where(x > (1e-5 if torch.compiler.is_exporting() else 0.0), 1.0, -1.0)

    spec = rows_to_rows().at("fp32")
    stage = stage_of(forward, spec)
    exported = export_stage(stage, spec, tmp_path, precision="fp32")

    def decided(values: np.ndarray) -> np.ndarray:
        return np.where(values > 0, 1.0, -1.0)

    def turned(case: Case, rounding: float) -> list[tuple[np.ndarray, ...]]:
        return [(decided(case.inputs[0] + shift),) for shift in (rounding, -rounding)]

    def checked(*values: float, explain: bool = True) -> Parity:
        scenes = []
        for value in values:
            x = np.linspace(-1, 1, 16, dtype=np.float32).reshape(2, 8)
            x[0, 0] = value
            scenes.append(Case({"windows": 2}, (x,), (decided(x),)))
        with runner(exported, spec, "fp32") as run:
            (row,) = check_onnx(run, spec, scenes, "fp32", turned=turned if explain else None)
        return row

    # One of 16 numbers is -1 instead of 1: the distance is 2 / sqrt(16).
    assert checked(5e-6, explain=False).relative_l2 == 0.5
    assert not checked(5e-6, explain=False).passed
    # Lowered by 4e-5, the reference decides as the graph does.
    assert checked(5e-6).relative_l2 == 0.0
    assert checked(0.5, 5e-6, -0.5).passed
    # The graph of another threshold is wrong far from zero, where no rounding turns the reference.
    wrong = tmp_path / "wrong"
    other = stage_of(lambda self, x: torch.where(x > 0.5, 1.0, -1.0), spec)
    exported = export_stage(other, spec, wrong, precision="fp32")
    assert not checked(0.5, 5e-6, -0.5).passed


def test_an_output_may_be_as_far_away_as_the_reference_jumps() -> None:
    expected = np.array([1.0, 0.0], np.float32)
    ways = [np.array([1.0, 1e-3], np.float32), np.array([1.0, -1e-3], np.float32)]
    assert _explained(np.array([1.0, 3e-3]), expected, ways, 1e-4) == pytest.approx((3e-3, 4e-3))
    assert _explained(np.array([1.0, 5e-3]), expected, ways, 1e-4) == pytest.approx((5e-3, 1e-4))
    assert _explained(np.array([1.0, 1e-3]), expected, ways, 1e-4)[0] == pytest.approx(0.0, abs=1e-9)
    # A reference that does not move explains nothing.
    assert _explained(np.array([1.0, 2e-4]), expected, [expected, expected], 1e-4)[1] == 1e-4
    assert _explained(np.array([np.nan, 0.0]), expected, ways, 1e-4) == (math.inf, 1e-4)


def test_the_mask_head_turns_its_decisions_and_is_itself_again() -> None:
    from reference.checkpoint import load_weights
    from tests.tiny_preset import TINY

    wrapper, model = STAGES["mask_head"], load_weights(TINY, "random:7")
    stage = wrapper(model).eval()
    (case,) = reference_cases(stage, model, wrapper.spec(TINY, "fp32"), [{"height": 64, "width": 64}])[:1]
    inputs = [torch.from_numpy(array) for array in case.inputs]
    with torch.inference_mode():
        raised, lowered = stage.turned(1e-3, *inputs)
        again = stage(*inputs)
    assert (raised[0] > lowered[0]).float().mean() > 0.99
    np.testing.assert_array_equal(again[0].numpy(), case.outputs[0])


def test_a_reference_that_is_not_finite_is_no_reference() -> None:
    spec = rows_to_rows().at("fp32")
    with pytest.raises(ExportError, match="the reference's y is not finite at windows=1"):
        cases(stage_of(lambda self, x: x / 0, spec), spec)


def test_relative_l2_is_the_distance_over_the_length() -> None:
    # |(3, 4) - (3, 4.5)| / |(3, 4)| = 0.5 / 5.
    assert relative_l2(np.array([3.0, 4.5]), np.array([3.0, 4.0])) == pytest.approx(0.1)
    # Squares of 60,000 overflow half precision: the sums must not be taken in it.
    large = np.full(4, 60_000, np.float16)
    assert relative_l2(large, large) == 0.0


@pytest.mark.parametrize("found", [np.array([np.nan, 1.0]), np.array([np.inf, 1.0])])
def test_what_is_not_finite_is_infinitely_far(found: np.ndarray) -> None:
    assert relative_l2(found, np.array([1.0, 1.0])) == math.inf


def test_where_only_zero_is_right_anything_else_is_infinitely_far() -> None:
    assert relative_l2(np.zeros(2), np.zeros(2)) == 0.0
    assert relative_l2(np.array([0.0, 1e-9]), np.zeros(2)) == math.inf


@pytest.mark.parametrize("preset", [DEMO, ODISE_LABEL], ids=lambda preset: preset.name)
def test_every_stage_is_checked_at_three_batches_and_at_the_typical_image_of_every_profile(preset) -> None:  # type: ignore[no-untyped-def]
    def sizes(name: str, *axes: str) -> set[tuple[int, ...]]:
        return {tuple(case[a] for a in axes) for case in check_sizes(STAGES[name].declare(preset))}

    window, short = preset.window, preset.short_side
    for name in ("captioner", "features"):
        assert sizes(name, "windows", "side") == {
            (1, window),
            (4, window),
            (10, window),
            (1, window // 2),
            (1, 64),
        }
    longer = 64 * round(short * 4 / 3 / 64)
    for name in ("mask_head", "clip_pool"):
        assert sizes(name, "height", "width") == {(short, short), (short, longer), (longer, short), (64, 64)}
    assert sizes("text_encoder", "texts") == {(1,), (128,)}


def test_the_largest_batch_can_be_limited() -> None:
    limited = check_sizes(STAGES["features"].declare(ODISE_LABEL), {"windows": 2})
    assert max(case["windows"] for case in limited) == 2


def test_the_report_shows_every_comparison_and_the_verdict(tmp_path: Path) -> None:
    near = Parity("captioner", "cond_emb", "onnx", {"windows": 10}, 3e-7, 1e-6, 1e-4)
    far = Parity("features", "s2", "onnx", {"windows": 1}, 2e-2, 0.5, 1e-4)
    write_report(tmp_path / "parity.html", [near, far], "demo <test>")
    page = (tmp_path / "parity.html").read_text()
    assert "1 of 2 comparisons missed" in page
    assert "demo &lt;test&gt;" in page
    assert page.count("<tr class=") == 2
    # From 1e-8 to ten tolerances, 1e-3, are five decades: 3e-7 is log10(30) = 1.477 of them, 1e-4 four.
    assert 'width:29.5%"></i><b style="left:80.0%' in page
    assert 'class="stage missed"' in page

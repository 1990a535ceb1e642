"""Integers of a graph are counted where they differ. None may, except where rounding decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from export.cases import reference_cases
from export.parity import Case, check_onnx, require, share_differing
from export.report import write_report
from export.stages import STAGES
from export.stages.largest import first_largest, nearly_equal
from export.stages.wrapper import StageWrapper
from odise_trt.bundle.manifest import Parity
from odise_trt.errors import ExportError, ParityError
from odise_trt.stage_spec import Axis, StageSpec, Tensor
from reference.preset import DEMO

SPEC = StageSpec(
    "labels",
    inputs=(Tensor("x", "float32", ("rows", 100)),),
    outputs=(Tensor("label", "int32", ("rows", 100)),),
    axes=(Axis("rows", 1, 2, 4),),
    profiles=(),
)
LABELS = np.arange(200, dtype=np.int32).reshape(2, 100)


def compared(found: Sequence[np.ndarray], undecided: Mapping[str, np.ndarray]) -> Parity:
    """The row of one comparison for several scenes that should all give `LABELS`."""
    given = [Case({"rows": 2}, (np.zeros((2, 100), np.float32),), (LABELS,), undecided)] * len(found)
    outputs = iter(found)
    (row,) = check_onnx(lambda inputs: [next(outputs)], SPEC, given, "fp32")
    return row


def changed(*places: tuple[int, int]) -> np.ndarray:
    other = LABELS.copy()
    for place in places:
        other[place] += 1
    return other


def test_equal_integers_pass() -> None:
    assert compared([LABELS], {}).passed


def test_one_integer_of_many_that_differs_fails_and_is_counted() -> None:
    row = compared([changed((1, 5))], {})
    assert not row.passed
    assert row.relative_l2 == 1 / 200
    with pytest.raises(ParityError, match=r"labels\.label"):
        require([row])


def test_integers_may_differ_where_rounding_decides_and_only_there() -> None:
    where = np.zeros((2, 100), bool)
    where[1, 5] = True
    assert compared([changed((1, 5))], {"label": where}).passed
    assert not compared([changed((1, 5), (1, 6))], {"label": where}).passed
    assert share_differing(changed((1, 5), (1, 6)), LABELS, where) == 1 / 200


def test_of_several_scenes_the_worst_counts() -> None:
    assert not compared([LABELS, LABELS, changed((0, 0))], {}).passed


def test_the_report_draws_integers_too(tmp_path) -> None:  # type: ignore[no-untyped-def]
    rows = [compared([LABELS], {}), compared([changed((0, 0))], {})]
    write_report(tmp_path / "parity.html", rows, "labels")
    assert "1 of 2 comparisons missed" in (tmp_path / "parity.html").read_text()


class Undecided(StageWrapper):
    """Gives zeros, and says that rounding decides some of them."""

    def __init__(self, count: int) -> None:
        super().__init__(SimpleNamespace())  # type: ignore[arg-type]
        self.count = count

    @classmethod
    def declare(cls, preset: object) -> StageSpec:  # type: ignore[override]
        return SPEC

    @classmethod
    def examples(cls, model, sizes, generator):  # type: ignore[no-untyped-def]
        return (torch.zeros(sizes["rows"], 100),)

    def undecided(self, *inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"label": torch.arange(inputs[0].numel()).reshape(inputs[0].shape) < self.count}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(torch.int32)


def test_examples_of_which_rounding_decides_much_are_refused() -> None:
    assert reference_cases(Undecided(2), None, SPEC, [{"rows": 2}])[0].undecided["label"].sum() == 2  # type: ignore[arg-type]
    with pytest.raises(ExportError, match=r"rounding decides 1\.5% of label at rows=2"):
        reference_cases(Undecided(3), None, SPEC, [{"rows": 2}])  # type: ignore[arg-type]


def test_the_first_of_equals_is_the_largest() -> None:
    values = torch.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [5.0, float("nan"), 5.0]])
    assert first_largest(values, torch.tensor([3.0, 2.0, 5.0]), 1).tolist() == [1, 0, 0]


def test_where_nothing_is_the_largest_the_last_one_is_given() -> None:
    # An index beyond all would make an engine read memory that is not its own.
    values = torch.full((3, 2), float("nan"))
    assert first_largest(values, values.amax(0), 0).tolist() == [2, 2]


def test_nearly_equal_is_a_matter_of_the_fifth_digit() -> None:
    values = torch.tensor([[1.0, 1.0, 1.0, 7.0], [1.0, 1 - 5e-6, 1 - 2e-5, 2.0]])
    assert nearly_equal(values, 0).tolist() == [True, True, False, False]
    assert nearly_equal(values[:1], 0).tolist() == [False] * 4


@pytest.mark.parametrize("name", ["panoptic", "semantic", "instances"])
def test_rounding_decides_next_to_nothing_of_the_examples(name: str) -> None:
    stage = STAGES[name](SimpleNamespace(preset=DEMO))  # type: ignore[arg-type]
    sizes = stage.sizes(DEMO)[-1]
    inputs = stage.examples(
        SimpleNamespace(preset=DEMO),  # type: ignore[arg-type]
        sizes,
        torch.Generator().manual_seed(5),
    )
    for where in stage.undecided(*inputs).values():
        assert where.float().mean() < 0.002


def test_a_logit_next_to_zero_and_equal_products_leave_a_pixel_open() -> None:
    stage = STAGES["panoptic"](SimpleNamespace(preset=DEMO))  # type: ignore[arg-type]
    sizes = {"height": 64, "width": 128, "rows": 9, "output_width": 9}
    masks, score, *others = stage.examples(
        SimpleNamespace(preset=DEMO),  # type: ignore[arg-type]
        sizes,
        torch.Generator().manual_seed(5),
    )
    masks[:], score[:] = -9, -1
    masks[0, 0], score[0] = 1e-6, 0.5
    assert stage.undecided(masks, score, *others)["code"].all()
    masks[0, 0] = 1.0
    assert not stage.undecided(masks, score, *others)["code"].any()
    masks[0, 3], score[3] = 1.0, 0.5
    assert stage.undecided(masks, score, *others)["code"].all()

"""The metrics, each declared once. A new metric is one file and one entry here: docs/adding-a-metric.md.

Scoring, tables and comparisons read these declarations. Accumulators are named as "module:class" and imported
when they are needed: reading a report needs none of the libraries behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

from odise_trt.task import Task
from reference.datasets.example import Dataset
from reference.eval.metrics.base import Accumulator

_METRICS = "reference.eval.metrics"


@dataclass(frozen=True)
class Metric:
    """What is said of a metric.

    Attributes:
        task: whose truth and predictions it reads.
        accumulator: "module:class", see `Accumulator`.
        names: of its averages, in the order of its table; those that a report lacks are left out.
        columns: of its rows per category.
        compared: the one of `names` that stands in the table of several predictors; None: none does.
        groups: rows of its table, (label, what is added to the names): ("things", "_things"). Empty: one row.
    """

    task: Task
    accumulator: str
    names: tuple[str, ...]
    columns: tuple[str, ...] = ()
    compared: str | None = None
    groups: tuple[tuple[str, str], ...] = ()

    def load(self) -> Callable[[Dataset], Accumulator]:
        """The class of its accumulator, with the libraries it needs."""
        module, _, name = self.accumulator.partition(":")
        found: Callable[[Dataset], Accumulator] = getattr(import_module(module), name)
        return found


METRICS: Sequence[Metric] = (
    Metric(
        "panoptic",
        f"{_METRICS}.panoptic_quality:PanopticMetric",
        names=("PQ", "SQ", "RQ"),
        columns=("PQ", "SQ", "RQ", "TP", "FP", "FN"),
        compared="PQ",
        groups=(("all", ""), ("things", "_things"), ("stuff", "_stuff")),
    ),
    Metric(
        "semantic",
        f"{_METRICS}.mean_iou:SemanticMetric",
        names=("mIoU", "pixel_accuracy"),
        columns=("IoU",),
        compared="mIoU",
    ),
    Metric(
        "instance",
        f"{_METRICS}.average_precision:InstanceMetric",
        names=("AP", "APs", "APm", "APl", "AP50", "AP75", "AR@100", "AP_r", "AP_c", "AP_f"),
        columns=("AP",),
        compared="AP",
    ),
)

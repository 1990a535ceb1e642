"""Put several predictors, evaluated on the same images, into one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from odise_trt.errors import OdiseError
from reference.eval.metrics import catalogue
from reference.eval.report import Report


@dataclass(frozen=True)
class Row:
    """One predictor.

    Attributes:
        name: see `Report.name`.
        precision: its arithmetic, "fp32" or "fp16" (or torch's name of it).
        runs_on: backend and device.
        scores: the number that each metric is compared by (PQ, mIoU, AP), those that were evaluated.
        differences: the same, minus those of the first predictor.
        seconds: median per image.
    """

    name: str
    precision: str
    runs_on: str
    scores: dict[str, float | None]
    differences: dict[str, float | None]
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """What `compare` returns.

    Attributes:
        dataset: its name.
        images: how many were evaluated.
        rows: one per predictor; the others are compared with the first.
    """

    dataset: str
    images: int
    rows: Sequence[Row]

    @property
    def headings(self) -> tuple[str, ...]:
        """The headings of the columns of `cells`."""
        return ("", "precision", "runs on", *self.rows[0].scores, "s / image (median)")

    def cells(self) -> list[tuple[str, ...]]:
        """The rows of the table as text, with differences in brackets."""
        return [
            (
                row.name,
                row.precision,
                row.runs_on,
                *(
                    _cell(value, None if number == 0 else row.differences[metric])
                    for metric, value in row.scores.items()
                ),
                f"{row.seconds:.3f}",
            )
            for number, row in enumerate(self.rows)
        ]

    def markdown(self) -> str:
        """The table as Markdown."""
        rows = [self.headings, ["---"] * 3 + ["---:"] * (len(self.headings) - 3), *self.cells()]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in rows) + "\n"


def compare(reports: Sequence[Report]) -> Comparison:
    """Put evaluations of several predictors side by side.

    Args:
        reports: all of the same images and tasks; the others are compared with the first.

    Raises:
        OdiseError: the reports are of different images or tasks.
        ValueError: `reports` is empty.
    """
    if not reports:
        raise ValueError("there is nothing to compare")
    first = reports[0]
    for report in reports[1:]:
        if dict(report.dataset) != dict(first.dataset) or tuple(report.tasks) != tuple(first.tasks):
            raise OdiseError(
                f"{first.name} and {report.name} were not evaluated on the same images and tasks",
                "evaluate them together: odise-trt eval --engines A --engines B ...",
            )
    compared = [metric.compared for metric in catalogue.METRICS]
    metrics = [name for name in compared if name is not None and name in first.metrics]
    return Comparison(
        first.dataset["name"], first.dataset["images"], [_row(report, first, metrics) for report in reports]
    )


def _row(report: Report, first: Report, metrics: Sequence[str]) -> Row:
    runs_on = report.predictor.get("runs_on", {})
    return Row(
        report.name,
        str(report.predictor.get("precision", "")),
        " ".join(str(runs_on[key]) for key in ("backend", "device") if key in runs_on),
        {metric: report.metrics.get(metric) for metric in metrics},
        {metric: _difference(report.metrics.get(metric), first.metrics[metric]) for metric in metrics},
        report.seconds["median"],
    )


def _difference(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _cell(value: float | None, difference: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if difference is None else f"{value:.2f} ({difference:+.2f})"

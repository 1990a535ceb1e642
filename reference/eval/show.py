"""Print reports as tables."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reference.eval.comparison import Comparison
from reference.eval.report import Report

_GROUPS = (("all", ""), ("things", "_things"), ("stuff", "_stuff"))
_SEGMENTS = ("PQ", "SQ", "RQ")
_REGIONS = ("mIoU", "pixel_accuracy")
_COLUMNS = ("PQ", "SQ", "RQ", "TP", "FP", "FN", "IoU", "AP")


def show_report(console: Console, report: Report, per_category: bool = False) -> None:
    """Print the numbers of one evaluation.

    Args:
        per_category: also print a row for each category.
    """
    of = "" if report.dataset["images"] == report.dataset["of"] else f" of {report.dataset['of']}"
    title = f"{report.name} on {report.dataset['name']}, {report.dataset['images']}{of} images"
    console.print(title, style="bold", markup=False, highlight=False)
    metrics = report.metrics
    if "PQ" in metrics:
        table = _table("", *_SEGMENTS)
        for name, suffix in _GROUPS:
            table.add_row(name, *(_number(metrics[metric + suffix]) for metric in _SEGMENTS))
        console.print(table)
    regions = [metric for metric in _REGIONS if metric in metrics]
    segments = {metric + suffix for metric in _SEGMENTS for _, suffix in _GROUPS}
    objects = [metric for metric in metrics if metric not in segments and metric not in _REGIONS]
    for names in (regions, objects):
        if names:
            table = _table(*names)
            table.add_row(*(_number(metrics[name]) for name in names))
            console.print(table)
    if per_category:
        console.print(_categories(report))
    seconds = report.seconds
    console.print(f"{seconds['median']:.3f} s per image (median of {seconds['images']})", highlight=False)


def show_comparison(console: Console, comparison: Comparison) -> None:
    """Print several predictors as one table."""
    table = Table(box=None, pad_edge=False, title_justify="left")
    for number, heading in enumerate(comparison.headings):
        table.add_column(heading, justify="left" if number < 3 else "right", overflow="fold")
    for cells in comparison.cells():
        table.add_row(*map(escape, cells))
    console.print(table)


def _categories(report: Report) -> Table:
    columns = [name for name in _COLUMNS if any(name in row for row in report.categories)]
    table = Table(box=None, pad_edge=False)
    table.add_column("category")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    for row in report.categories:
        cells = (_number(row.get(name)) for name in columns)
        table.add_row(escape(row["name"]), "thing" if row["isthing"] else "stuff", *cells)
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right" if heading else "left", min_width=7)
    return table


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.2f}"

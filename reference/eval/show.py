"""Print reports as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reference.eval.comparison import Comparison
from reference.eval.metrics import catalogue
from reference.eval.metrics.catalogue import Metric
from reference.eval.report import Report


def show_report(console: Console, report: Report, per_category: bool = False) -> None:
    """Print the numbers of one evaluation.

    Args:
        per_category: also print a row for each category.
    """
    of = "" if report.dataset["images"] == report.dataset["of"] else f" of {report.dataset['of']}"
    title = f"{report.name} on {report.dataset['name']}, {report.dataset['images']}{of} images"
    console.print(title, style="bold", markup=False, highlight=False)
    for metric in catalogue.METRICS:
        if names := [name for name in metric.names if name in report.metrics]:
            console.print(_numbers(metric, names, report.metrics))
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


def _numbers(metric: Metric, names: Sequence[str], values: Mapping[str, float | None]) -> Table:
    labels = [""] if metric.groups else []
    table = _table(*labels, *names)
    for label, suffix in metric.groups or (("", ""),):
        cells = (_number(values.get(name + suffix)) for name in names)
        table.add_row(*([label] if metric.groups else []), *cells)
    return table


def _categories(report: Report) -> Table:
    declared = dict.fromkeys(name for metric in catalogue.METRICS for name in metric.columns)
    columns = [name for name in declared if any(name in row for row in report.categories)]
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

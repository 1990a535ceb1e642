"""Tables of the parts that measure bundles: pictures and streams, stages, kernels, memory, categories."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    Rows = Mapping[str, Mapping[str, Any]]

#: The stages with most work. They have a column each, and the others are "rest".
STAGES = ("captioner", "features", "mask_head", "clip_pool")
#: Rows of the tables of operators and of kernels, and the most letters of a kernel's name in them.
_COSTLIEST, _LETTERS = 12, 60


def bundle_tables(sections: Mapping[str, Any], machine: str) -> Iterator[Table]:
    """Yield the tables of those sections that were measured."""
    # Older records have a section memory of another form.
    makes: tuple[tuple[str, str, Callable[[Rows, str], Iterator[Table]]], ...] = (
        ("runtime", "seconds", _runtime),
        ("stages", "seconds", _stages),
        ("kernels", "seconds", _kernels),
        ("memory", "peak_bytes", _memory),
        ("categories", "peak_bytes", _categories),
    )
    for name, key, make in makes:
        if rows := measured(sections.get(name, {}), key):
            yield from make(rows, machine)


def measured(section: Mapping[str, Any], *keys: str) -> dict[str, Mapping[str, Any]]:
    """Return the numbers of a section that were measured: those with a key, by default "seconds"."""
    wanted = set(keys or ("seconds",))
    return {
        name: one
        for name, one in section.items()
        if isinstance(one, dict) and "error" not in one and wanted & one.keys()
    }


def table(heading: str, first: str, *others: str) -> Table:
    """Make a table whose columns but the first are numbers."""
    from rich.table import Table

    shown = Table(first, title=heading)
    for name in others:
        shown.add_column(name, justify="right")
    return shown


def _runtime(runs: Rows, machine: str) -> Iterator[Table]:
    columns = "ms", "queued", "three tasks", "streamed/s", "GB", *STAGES, "rest"
    shown = table(f"bundles, {machine}", "bundle", *columns)
    for name, one in runs.items():
        steps = one["steps"]
        shown.add_row(
            name,
            _ms(one["seconds"]),
            _ms(one.get("recording", {}).get("queued_seconds")),
            _ms(one["all_tasks"]["seconds"]),
            f"{one['streamed_per_second']:.1f}",
            _gb(one["bytes"]),
            *(_ms(steps.get(stage)) for stage in STAGES),
            _ms(sum(s for stage, s in steps.items() if stage not in STAGES) if steps else None),
        )
    yield shown


def _stages(runs: Rows, machine: str) -> Iterator[Table]:
    columns = "ms", "queued", "host", "TFLOP", "floor ms", "share", "how"
    shown = table(f"stages alone, {machine}", "stage", *columns)
    for name, one in runs.items():
        floor = one.get("floor_seconds")
        shown.add_row(
            name,
            _ms(one["seconds"], 3),
            _ms(one.get("queued_seconds"), 3),
            _ms(one.get("host_seconds_to_queue"), 3),
            "" if "flops" not in one else f"{one['flops'] / 1e12:.4f}",
            _ms(floor, 3),
            "" if floor is None else f"{floor / one['seconds']:.0%}",
            one["how"].partition(":")[0],
        )
    yield shown


def _kernels(runs: Rows, machine: str) -> Iterator[Table]:
    kinds = [
        (one["times"], name, kind, found["count"], found["seconds"])
        for name, one in runs.items()
        for kind, found in one.get("operators", {}).items()
    ]
    for times in dict.fromkeys(times for times, *_ in kinds):
        own = [rest for other, *rest in kinds if other == times]
        yield _costliest(f"operators by kind, {machine}; seconds are {times}", "operator", own)
    named = [
        [name.removesuffix(", kernels"), found["name"][:_LETTERS], found["count"], found["seconds"]]
        for name, one in runs.items()
        for found in one.get("longest", ())
    ]
    if named:
        yield _costliest(f"kernels, {machine}", "kernel", named)
        whole = sum(one["seconds"] for one in runs.values() if "longest" in one)
        shown = table(f"kernels of each stage, {machine}", "stage", "count", "ms", "share")
        for name, one in runs.items():
            if "longest" in one:
                share = one["seconds"] / whole if whole else 0.0
                shown.add_row(
                    name.removesuffix(", kernels"), str(one["count"]), _ms(one["seconds"], 3), f"{share:.1%}"
                )
        yield shown


def _costliest(heading: str, what: str, rows: list[list[Any]]) -> Table:
    """Make a table as `odise-trt bench layers` has: the rows with most seconds, and their share of all."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table("stage", what, title=heading)
    for name in ("count", "ms", "share"):
        shown.add_column(name, justify="right")
    whole = sum(seconds for *_, seconds in rows) or 1.0
    for stage, name, count, seconds in sorted(rows, key=lambda row: -row[3])[:_COSTLIEST]:
        shown.add_row(stage, escape(name), str(count), _ms(seconds, 3), f"{seconds / whole:.1%}")
    return shown


def _memory(runs: Rows, machine: str) -> Iterator[Table]:
    of = next(iter(runs.values()))["bytes_of"]
    columns = "ms", "first s", "streamed/s", "GB opened", "GB peak", "GB in a stream", "GB left"
    shown = table(f"memory, {machine}: {of}", "variant", *columns)
    for name, one in runs.items():
        shown.add_row(
            name,
            _ms(one["seconds"]),
            f"{one['first_seconds']:.2f}",
            f"{one['streamed_per_second']:.1f}",
            *(_gb(one[f"{key}"]) for key in ("opened_bytes", "peak_bytes", "stream_peak_bytes")),
            _gb(one["left_bytes_after_close"]),
        )
    yield shown


def _categories(runs: Rows, machine: str) -> Iterator[Table]:
    of = next(iter(runs.values()))["bytes_of"]
    columns = "ms", "first s", "rows per run", "GB opened", "GB peak"
    shown = table(f"the semantic task, {machine}; memory: {of}", "what", *columns)
    for name, one in runs.items():
        shown.add_row(
            name,
            _ms(one["seconds"]),
            f"{one['first_seconds']:.2f}",
            "all" if one["rows_per_run"] is None else str(one["rows_per_run"]),
            _gb(one["opened_bytes"]),
            _gb(one["peak_bytes"]),
        )
    yield shown


def _ms(seconds: float | None, digits: int = 1) -> str:
    return "" if seconds is None else f"{seconds * 1000:.{digits}f}"


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f}"

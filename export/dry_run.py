"""`odise-trt build --dry-run`: what a build will do, as a table or as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from odise_trt.cli.console import plain
from odise_trt.stage_spec import StageSpec

from .fit import MARGIN, Verdict
from .forecast import BundleForecast, Forecast, StageForecast


def show(console: Console, found: Forecast, verdict: Verdict) -> None:
    """Print a forecast."""
    for bundle in found.bundles:
        # A table's title would break a long path into lines.
        plain(console, f"{bundle.folder} ({bundle.backend})")
        console.print(_table(bundle))
        for stage in bundle.stages:
            plain(console, f"  {stage.spec.name} takes {_shapes(stage.spec)}")
        for line in bundle.price:
            plain(console, line)
        need, free = _size(bundle.disk_bytes), _size(bundle.free_bytes)
        plain(console, f"disk: about {need or 'nothing'}, {free} are free")
    if not found.seconds[1]:
        plain(console, "all stages are there already: nothing is exported")
        return
    least, most = found.seconds
    plain(console, f"time: about {_time(least)}, up to {_time(most)} if other programs run, too")
    plain(console, f"memory: about {_size(found.peak_bytes)} at its peak{_machine(found)}")
    plain(console, "times, memory and sizes of what is built are estimates, from builds on two cores")
    for doubt in verdict.doubts:
        plain(console, doubt, "yellow")


def as_data(found: Forecast, verdict: Verdict) -> dict[str, Any]:
    """Return a forecast as JSON. Sizes are in bytes, "expected_seconds" of the whole is [least, most]."""
    return {
        "estimate": True,
        "bundles": [
            {
                "folder": str(bundle.folder),
                "backend": bundle.backend,
                "stages": [_stage(stage) for stage in bundle.stages],
                "disk_bytes": bundle.disk_bytes,
                "free_bytes": bundle.free_bytes,
                "price": list(bundle.price),
            }
            for bundle in found.bundles
        ],
        "expected_seconds": [round(seconds) for seconds in found.seconds],
        "peak_bytes": found.peak_bytes,
        "memory_bytes": found.memory,
        "available_bytes": found.available,
        "margin": MARGIN,
        "problems": [f"{problem}: {way}" for problem, way in verdict.problems],
        "doubts": list(verdict.doubts),
    }


def _stage(stage: StageForecast) -> dict[str, Any]:
    return {
        "stage": stage.spec.name,
        "kept": stage.kept,
        "export_shared": stage.shared,
        "precision": stage.precision,
        "axes": {axis.name: [axis.minimum, axis.maximum] for axis in stage.spec.axes},
        "profiles": {profile.name: _lists(profile.ranges) for profile in stage.spec.profiles},
        "onnx_bytes": stage.onnx_bytes,
        "engine_bytes": stage.engine_bytes,
        "expected_seconds": round(stage.seconds, 1),
        "peak_bytes": stage.peak_bytes,
    }


def _lists(ranges: Mapping[str, tuple[int, int, int]]) -> dict[str, list[int]]:
    return {axis: list(sizes) for axis, sizes in ranges.items()}


def _table(bundle: BundleForecast) -> Table:
    engines = any(stage.engine_bytes is not None for stage in bundle.stages)
    table = Table()
    table.add_column("stage", no_wrap=True)
    table.add_column("in", no_wrap=True)
    for heading in ("ONNX", *(["engine"] if engines else []), "time", "memory"):
        table.add_column(heading, justify="right", no_wrap=True)
    for stage in bundle.stages:
        sizes = [stage.onnx_bytes, *([stage.engine_bytes or 0] if engines else [])]
        costs = ("kept", "") if stage.kept else (_time(stage.seconds), _size(stage.peak_bytes))
        cells = (stage.spec.name, stage.precision, *map(_size, sizes), *costs)
        table.add_row(*map(escape, cells))
    return table


def _shapes(spec: StageSpec) -> str:
    """Format axes as "windows 1-10, side 64-512", and how many profiles an engine gets for them."""
    axes = ", ".join(
        f"{axis.name} {axis.minimum}-{axis.maximum}" for axis in spec.axes if axis.minimum < axis.maximum
    )
    return f"{axes} in {len(spec.profiles)} profiles" if len(spec.profiles) > 1 else axes


def _machine(found: Forecast) -> str:
    if found.memory is None:
        return ""
    now = "" if found.available is None else f", {_size(found.available)} are free now"
    return f"; this machine has {_size(found.memory)}{now}"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _size(count: int) -> str:
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.0f} kB" if count else ""

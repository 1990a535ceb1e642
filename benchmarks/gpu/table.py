"""The record as tables: techniques side by side, engines, the floor, growth, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .bundle_tables import STAGES, bundle_tables, measured, table

if TYPE_CHECKING:
    from rich.table import Table


def tables(record: Mapping[str, Any]) -> Iterator[Table]:
    """Yield the tables of a record. What was not measured has none, and what failed is left out.

    Args:
        record: as `benchmarks.gpu.summary.summary` makes it, or an older one of benchmarks/results.
    """
    sections = record["sections"]
    machine = record["machine"]["device"]
    rows = techniques(record)
    for size in dict.fromkeys(name.partition("/")[0] for name in rows):
        own = {name.partition("/")[2]: one for name, one in rows.items() if name.startswith(f"{size}/")}
        yield _techniques(own, f"{size}, {machine}")
    yield from bundle_tables(sections, machine)
    if engines := measured(sections.get("engines", {})):
        yield _engines(engines, machine)
    if floors := _floors(sections):
        yield _floor(record, floors)
    if parity := measured(sections.get("parity", {}), "relative_l2", "mask_iou"):
        yield _parity(parity)
    if growth := measured(sections.get("growth", {})):
        shown = table(f"growth, {machine}", "what", "ms")
        for name, one in growth.items():
            shown.add_row(name, f"{one['seconds'] * 1000:.1f}")
        yield shown


def techniques(record: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return "HxW/technique" -> numbers, in the order of the waterfall."""
    found = measured(record["sections"].get("waterfall", {}))
    sizes = [name.partition("/")[0] for name in found]
    # Older records have torch.compile in a section of its own, for the first size.
    others = measured(record["sections"].get("compiled", {}))
    found |= {f"{sizes[0] if sizes else '?'}/{name}": one for name, one in others.items()}
    order = list(dict.fromkeys(sizes))
    return dict(sorted(found.items(), key=lambda one: order.index(one[0].partition("/")[0]) if order else 0))


def next_step(record: Mapping[str, Any]) -> str:
    """Name the stage that is furthest from its floor, by seconds. "" if the floor was not measured."""
    floors, best = _floors(record["sections"]), _best(record)
    above = {stage: best[stage][0] - floor for stage, floor in floors.items() if stage in best}
    if not above:
        return ""
    worst = max(above, key=lambda stage: above[stage])
    seconds, name = best[worst]
    return (
        f"next: {worst}. Its best time is {seconds * 1000:.1f} ms ({name}), and its floor"
        f" {floors[worst] * 1000:.1f} ms: {seconds / floors[worst]:.1f} times as much"
    )


def _techniques(rows: Mapping[str, Mapping[str, Any]], title: str) -> Table:
    shown = table(f"milliseconds, {title}", "technique", "all", *STAGES, "GB", "masks", "map equal", "speed")
    first = next(iter(rows.values()))["seconds"]
    for name, one in rows.items():
        shown.add_row(
            name,
            f"{one['seconds'] * 1000:.1f}",
            *(f"{one['stages'].get(stage, 0) * 1000:.1f}" for stage in STAGES),
            f"{one['peak_bytes'] / 1e9:.1f}" if "peak_bytes" in one else "",
            f"{one['mask_pred_relative_l2']:.1e}",
            f"{one['panoptic_agreement']:.2%}",
            f"{first / one['seconds']:.1f}x",
        )
    return shown


def _engines(engines: Mapping[str, Mapping[str, Any]], machine: str) -> Table:
    shown = table(f"engines, {machine}", "engine", "ms", "relative L2")
    for name, one in engines.items():
        shown.add_row(name, f"{one['seconds'] * 1000:.2f}", f"{max(one['relative_l2'].values()):.1e}")
    return shown


def _floor(record: Mapping[str, Any], floors: Mapping[str, float]) -> Table:
    section, best = record["sections"]["floor"], _best(record)
    shown = table("the floor", "stage", "TFLOP", "floor ms", "best ms", "share", "of")
    for stage, floor in floors.items():
        seconds, name = best.get(stage, (None, ""))
        shown.add_row(
            stage,
            f"{section[stage]['flops'] / 1e12:.3f}",
            f"{floor * 1000:.2f}",
            "" if seconds is None else f"{seconds * 1000:.1f}",
            "" if seconds is None else f"{floor / seconds:.0%}",
            name,
        )
    return shown


def _parity(parity: Mapping[str, Mapping[str, Any]]) -> Table:
    shown = table(
        "parity with the float32 reference on the CPU",
        "what",
        "max abs",
        "relative L2",
        "mask IoU",
        "map equal",
    )
    for name, one in parity.items():
        whole = "mask_iou" in one
        distance = one["mask_pred_relative_l2" if whole else "relative_l2"]
        largest = "" if whole else f"{one['max_abs']:.1e}"
        ends = (f"{one['mask_iou']:.4f}", f"{one['panoptic_agreement']:.2%}") if whole else ("", "")
        shown.add_row(name, largest, f"{distance:.1e}", *ends)
    return shown


def _floors(sections: Mapping[str, Any]) -> dict[str, float]:
    return {
        stage: one["floor_seconds"]
        for stage, one in sections.get("floor", {}).items()
        if isinstance(one, dict) and "floor_seconds" in one
    }


def _best(record: Mapping[str, Any]) -> dict[str, tuple[float, str]]:
    """Return stage -> its smallest time at the first size, and of what."""
    found: dict[str, tuple[float, str]] = {}
    rows = techniques(record)
    first = next(iter(rows), "").partition("/")[0]
    for name, one in rows.items():
        if name.partition("/")[0] == first:
            for stage, seconds in one["stages"].items():
                own = (seconds, name.partition("/")[2])
                found[stage] = min(found.get(stage, own), own)
    for name, one in measured(record["sections"].get("engines", {})).items():
        stage = name.partition(",")[0].rsplit(" ", 1)[1]
        found[stage] = min(found.get(stage, (one["seconds"], name)), (one["seconds"], name))
    return found

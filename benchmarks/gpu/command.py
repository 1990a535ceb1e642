"""The command: it runs the sections one after the other, and writes the record after each number."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from odise_trt.cli import console
from odise_trt.cli.places import folder
from odise_trt.errors import OdiseError


class SectionName(StrEnum):
    """Choices of --section."""

    waterfall = "waterfall"
    floor = "floor"
    growth = "growth"
    compiled = "compiled"


def main(
    output: Annotated[Path, typer.Option(help="The record, JSON.", parser=folder, metavar="PATH")],
    preset: Annotated[str, typer.Option(help="Of the reference.")] = "odise-label",
    weights: Annotated[str, typer.Option(help="random:SEED, demo, or a file.")] = "random:0",
    device: Annotated[str, typer.Option(help="cuda, cuda:1, or cpu to try the script.")] = "cuda",
    section: Annotated[list[SectionName] | None, typer.Option(help="Only this; may be repeated.")] = None,
    side: Annotated[int, typer.Option(min=64, help="Height of the pictures, pixels.")] = 1024,
    seconds: Annotated[float, typer.Option(min=0.1, help="For the runs of one technique.")] = 8.0,
    budget: Annotated[float, typer.Option(min=1, help="Seconds after which no section begins.")] = 600.0,
    commit: Annotated[str | None, typer.Option(help="What is measured; default: what git says.")] = None,
) -> None:
    """Measure on a GPU: techniques side by side, the floor of the card, growth."""
    started = time.perf_counter()
    from benchmarks.gpu.card import card, smi
    from benchmarks.gpu.sections import SECTIONS, Bench
    from benchmarks.provenance import commit as described
    from benchmarks.record import check_place, write_record
    from reference.device import choose_device

    check_place(output, frozenset({"machine", "sections"}))
    chosen = choose_device(device)
    bench = Bench(preset, weights, chosen, ((side, side), (side, side * 4 // 3)), seconds=seconds)
    record: dict[str, Any] = {
        "machine": card(chosen),
        "commit": commit or described(),
        "preset": preset,
        "weights": weights,
        "clocks": {"before": smi()},
        "sections": {},
    }
    out = console.output()
    for name in dict.fromkeys(one.value for one in section or SectionName):
        if time.perf_counter() - started > budget:
            out.print(f"{name}: not begun, the budget of {budget:g} s is spent")
            continue
        numbers = record["sections"].setdefault(name, {})
        try:
            for key, value in SECTIONS[name](bench):
                numbers[key] = value
                console.plain(out, f"{time.perf_counter() - started:6.1f} s  {name}: {key}: {_short(value)}")
                write_record(output, record)
        except Exception as error:
            numbers["error"] = f"{type(error).__name__}: {error}"
            console.plain(out, f"{name}: {numbers['error']}")
        record["clocks"][name] = smi()
        write_record(output, record)
    console.plain(out, f"written: {output}")
    if failed := [name for name, numbers in record["sections"].items() if _has_failed(numbers)]:
        raise OdiseError(f"not all was measured: {', '.join(failed)}", f"{output} has the reasons")


def _has_failed(numbers: dict[str, Any]) -> bool:
    values = [value for value in numbers.values() if isinstance(value, dict)]
    return "error" in numbers or any("error" in value for value in values)


def _short(value: Any) -> str:
    if not isinstance(value, dict):
        return f"{value}"
    if "seconds" not in value:
        return ", ".join(
            f"{key} {one:.3g}" if isinstance(one, float) else f"{key} {one}" for key, one in value.items()
        )
    parts = [f"{value['seconds'] * 1000:.1f} ms"]
    parts += [f"{stage} {spent * 1000:.1f}" for stage, spent in value["stages"].items()]
    if "peak_bytes" in value:
        parts.append(f"{value['peak_bytes'] / 1e9:.2f} GB")
    if "panoptic_agreement" in value:
        parts.append(f"masks {value['mask_pred_relative_l2']:.1e}, map {value['panoptic_agreement']:.2%}")
    return " | ".join(parts)

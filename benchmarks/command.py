"""`odise-trt bench` without a verb: the whole benchmark."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from odise_trt.backends import available_threads
from odise_trt.cli import console
from odise_trt.cli.completion import vocabularies_like
from odise_trt.cli.places import folder
from odise_trt.errors import BundleError

if TYPE_CHECKING:
    from benchmarks.whole import Job


class Form(StrEnum):
    """Choices of --reference: the keys of `benchmarks.contest.contender.REFERENCE`."""

    official = "official"
    pruned = "pruned"
    batched = "batched"
    bf16 = "bf16"
    compiled = "compiled"


_FORMS = ", ".join(Form)


def main(
    context: typer.Context,
    preset: Annotated[str, typer.Option(help="Of the reference.")] = "demo",
    weights: Annotated[
        str | None, typer.Option(help="What the bundles were built from (default: demo, or random:0).")
    ] = None,
    engines: Annotated[
        list[Path] | None,
        typer.Option(
            help="A bundle; may be repeated (default: engines/PRESET-onnxruntime-fp32).",
            parser=folder,
            metavar="PATH",
        ),
    ] = None,
    reference: Annotated[
        list[Form] | None,
        typer.Option(
            help=f"A form of the reference: {_FORMS}; may be repeated (default: all but the last).",
            metavar="FORM",
        ),
    ] = None,
    no_reference: Annotated[bool, typer.Option("--no-reference", help="Bundles only.")] = False,
    image: Annotated[
        Path | None,
        typer.Option(
            help="A photo (default: a drawn scene, or assets/photo.jpg).", parser=folder, metavar="PATH"
        ),
    ] = None,
    vocab: Annotated[
        str | None,
        typer.Option(
            help="As `odise-trt run --vocab` (default: scenes, or coco).", autocompletion=vocabularies_like
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="Of the bundles, as for `run`.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = available_threads(),
    rounds: Annotated[int, typer.Option(min=1, help="Measured pictures per contender.")] = 12,
    seconds: Annotated[float, typer.Option(min=0, help="No round begins after so long.")] = 90.0,
    patience: Annotated[
        float | None, typer.Option(min=1, help="Seconds to wait for a contender (default: 120, or 3600).")
    ] = None,
    growth: Annotated[bool, typer.Option(help="Measure growth with words and windows, too.")] = True,
    one_by_one: Annotated[
        bool | None,
        typer.Option(
            "--one-by-one/--side-by-side",
            help="Contenders run one after the other, or all are open (default: as memory allows).",
        ),
    ] = None,
    strict: Annotated[bool, typer.Option(help="A busy machine is an error.")] = False,
    json: Annotated[Path | None, typer.Option(help="The record.", parser=folder, metavar="PATH")] = None,
    output: Annotated[
        Path, typer.Option(help="Folder for the pictures.", parser=folder, metavar="PATH")
    ] = Path("outputs"),
) -> None:
    """Compare the reference and bundles: times, CPU time, memory, parity, growth. A verb runs a part."""
    if context.invoked_subcommand is not None:
        return
    from dataclasses import replace

    from benchmarks.contest.alternate import Rules
    from benchmarks.contest.contender import USUAL
    from benchmarks.pictures import chart
    from benchmarks.record import check_place, write_record
    from benchmarks.report import tables
    from benchmarks.texts import load_text
    from benchmarks.whole import KEYS, Job, fits_side_by_side
    from odise_trt.vocabulary import Vocabulary
    from reference.preset import find_preset

    find_preset(preset)
    small = preset.startswith("demo")
    job = Job(
        preset=preset,
        weights=weights or ("demo" if small else "random:0"),
        engines=tuple(engines or [_usual_bundle(preset)]),
        reference=() if no_reference else tuple(one.value for one in reference) if reference else USUAL,
        image=image,
        vocabulary=vocab or ("scenes" if small else "coco"),
        threads=threads,
        device=device,
        growth_rounds=5 if growth else 0,
        strict=strict,
    )
    _check(job)
    Vocabulary.parse(job.vocabulary)
    if json is not None:
        check_place(json, KEYS)
    pictures = {output / f"bench-{name}.png": name for name in ("waterfall", "growth", "memory")}
    for path in pictures:
        chart.OWN.check_place(path)
    apart = not fits_side_by_side(job.contenders()) if one_by_one is None else one_by_one
    out = console.output()
    if apart:
        console.warn(
            "contenders run one after the other: they share neither memory nor the state of the machine"
        )
    rules = Rules(rounds, 2 if small else 1, seconds, patience or (120 if small else 3600), apart)
    record = followed(replace(job, rules=rules))
    for table in tables(record):
        out.print(table)
        out.print()
    for row in record["contenders"]:
        if "not_run" in row:
            console.warn(f"{row['technique']}: not run: {row['not_run']}")
    (console.warn if record["load"]["busy"] else lambda text: console.plain(out, text))(
        load_text(record["load"])
    )
    if json is not None:
        write_record(json, record)
        console.plain(out, f"written: {json}")
    for path in _draw(record, pictures):
        console.plain(out, f"written: {path}")


def _usual_bundle(preset: str) -> Path:
    return Path("engines") / f"{preset}-onnxruntime-fp32"


def _check(job: Job) -> None:
    """Report a wrong path now, not after minutes of measurement."""
    from odise_trt.bundle.manifest import Manifest
    from odise_trt.preprocess import load_image

    if job.image is not None:
        load_image(job.image)
    for bundle in job.engines:
        if not bundle.exists():
            raise BundleError(
                f"{bundle} does not exist", f"odise-trt build --preset {job.preset} --backend onnxruntime"
            )
        Manifest.read(bundle)


def followed(job: Job) -> dict[str, Any]:
    """Run the benchmark with a progress bar, and return its record."""
    from benchmarks.whole import run
    from odise_trt.cli.progress import progress_bars

    with progress_bars(console.errors(), counted=False, elapsed=True, spinner=True) as bars:
        task = bars.add_task("starting", total=1.0)
        return run(job, lambda what, share: bars.update(task, description=what, completed=share))


def _draw(record: dict[str, Any], pictures: dict[Path, str]) -> list[Path]:
    from benchmarks.pictures import chart, growth, memory, waterfall

    draw = {"waterfall": waterfall.draw, "growth": growth.draw, "memory": memory.draw}
    drawn = []
    for path, name in pictures.items():
        picture = draw[name](record)
        if picture is not None:
            chart.OWN.write(picture, path)
            drawn.append(path)
    return drawn

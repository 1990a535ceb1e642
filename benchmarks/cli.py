"""`odise-trt bench`, and its verbs. The older commands are `python -m benchmarks.{stages,mistakes,words}`."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import command
from benchmarks.drawn import command as drawn_command
from benchmarks.gpu import command as gpu_command
from benchmarks.layers import command as layers_command
from benchmarks.roofline import command as roofline_command
from odise_trt.backends import available_threads
from odise_trt.cli import console
from odise_trt.cli.completion import vocabularies_like
from odise_trt.cli.places import folder

app = typer.Typer(
    callback=command.main,
    invoke_without_command=True,
    help="Benchmarks: times per stage, on a CPU and on a GPU, and what the demo models find and confuse.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

#: Largest number of scenes. More scenes make the numbers no better.
_MOST_SCENES = 100_000
#: Keys of the records of `confusion` and `synonyms`.
_KEYS = frozenset({"scenes", "weights", "torch", "models"})

Weights = Annotated[str, typer.Option(help='"demo", or a folder that train-demo wrote.')]
Count = Annotated[int, typer.Option(min=1, max=_MOST_SCENES, help="Held-out scenes.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads.")]


class ContenderName(StrEnum):
    """Choices of --contender."""

    engines = "engines"
    pruned = "reference, pruned"
    official = "reference, official way"


_CONTENDERS = " | ".join(ContenderName)
#: The contenders among them that are forms of the reference, by the names of the whole benchmark.
_FORMS = {ContenderName.official: "official", ContenderName.pruned: "batched"}
#: Seconds to wait for an answer: the official way at full size takes minutes.
_DAY = 86400.0


@app.command()
def stages(
    engines: Annotated[Path, typer.Option(help="A bundle.", parser=folder, metavar="PATH")],
    image: Annotated[Path, typer.Option(help="A photo.", parser=folder, metavar="PATH")],
    weights: Annotated[str, typer.Option(help="What the bundle was built from.")] = "demo",
    vocab: Annotated[
        str, typer.Option(help="As `odise-trt run --vocab`.", autocompletion=vocabularies_like)
    ] = "coco",
    contender: Annotated[
        list[ContenderName] | None,
        typer.Option(help=f"Only one of {_CONTENDERS}; may be given several times.", metavar="NAME"),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = available_threads(),
    repeats: Annotated[int, typer.Option(min=1, help="Measured runs.")] = 3,
    warmup: Annotated[int, typer.Option(min=0, help="Runs before them.")] = 1,
    output: Annotated[
        Path | None,
        typer.Option(help="Where to write the measurements as JSON.", parser=folder, metavar="PATH"),
    ] = None,
) -> None:
    """Compare a bundle with the PyTorch reference: seconds per stage, memory, and how equal the maps are."""
    from benchmarks.command import followed
    from benchmarks.contest.alternate import Rules
    from benchmarks.record import check_place, write_record
    from benchmarks.report import contenders as table_of_contenders
    from benchmarks.report import stages as table_of_stages
    from benchmarks.whole import KEYS, Job
    from odise_trt.bundle.manifest import Manifest
    from odise_trt.preprocess import load_image
    from odise_trt.vocabulary import Vocabulary

    manifest = Manifest.read(engines)
    # A wrong path or word is reported now, not after minutes of measurement.
    load_image(image)
    Vocabulary.parse(vocab)
    if output is not None:
        check_place(output, KEYS)
    chosen = list(dict.fromkeys(contender or ContenderName))
    job = Job(
        preset=manifest.preset,
        weights=weights,
        engines=(engines,) if ContenderName.engines in chosen else (),
        reference=tuple(_FORMS[one] for one in _FORMS if one in chosen),
        image=image,
        vocabulary=vocab,
        threads=threads,
        growth_rounds=0,
        rules=Rules(repeats, warmup, seconds=math.inf, patience=_DAY, one_by_one=True),
    )
    record = followed(job)
    out = console.output()
    out.print(table_of_stages(record))
    out.print(table_of_contenders(record))
    if output is not None:
        write_record(output, record)
        console.plain(out, f"written: {output}")


@app.command()
def confusion(
    weights: Weights = "demo",
    count: Count = 100,
    output: Annotated[
        Path, typer.Option(help="Folder for mistakes.json.", parser=folder, metavar="PATH")
    ] = Path("outputs"),
    threads: Threads = None,
) -> None:
    """Print per category what the demo models call its pixels, and who covers the category they never saw."""
    import torch

    from benchmarks.confusion import covered_text, mistakes, table
    from benchmarks.demo_models import MODELS, load_demo
    from benchmarks.record import check_place, write_record

    path = output / "mistakes.json"
    check_place(path, _KEYS)
    if threads:
        torch.set_num_threads(threads)
    found = {name: mistakes(load_demo(preset, weights)[0], count) for name, preset in MODELS.items()}
    out = console.output()
    out.print(table(found))
    for supervision, record in found.items():
        out.print(covered_text(supervision, record["covered"]))
    write_record(path, {"scenes": count, "weights": weights, "torch": torch.__version__, "models": found})


@app.command()
def synonyms(
    weights: Weights = "demo",
    count: Count = 100,
    output: Annotated[
        Path, typer.Option(help="Folder for words.json.", parser=folder, metavar="PATH")
    ] = Path("outputs"),
    threads: Threads = None,
) -> None:
    """Print panoptic quality of the demo models by trained names, by synonyms, and on what they never saw."""
    import torch

    from benchmarks.demo_models import MODELS
    from benchmarks.record import check_place, write_record
    from benchmarks.synonyms import evaluated, table

    path = output / "words.json"
    check_place(path, _KEYS)
    if threads:
        torch.set_num_threads(threads)
    rows = {supervision: evaluated(preset, weights, count) for supervision, preset in MODELS.items()}
    console.output().print(table(rows))
    write_record(path, {"scenes": count, "weights": weights, "torch": torch.__version__, "models": rows})


@app.command()
def readme(
    record: Annotated[
        Path | None,
        typer.Option(
            help="A record (default: benchmarks/results/demo-cpu.json).", parser=folder, metavar="PATH"
        ),
    ] = None,
) -> None:
    """Write the speed table of the README from a record of the benchmark."""
    from benchmarks.readme import PAGE, RECORD, update

    changed = update(PAGE, record or RECORD)
    console.plain(console.output(), f"{PAGE}: {'written' if changed else 'is up to date'}")


app.command("gpu")(gpu_command.main)
app.command("roofline")(roofline_command.main)
app.command("layers")(layers_command.main)
app.command("pack")(drawn_command.pack)
app.command("unpack")(drawn_command.unpack)

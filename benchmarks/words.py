"""How well the demo models find what they were trained on, its synonyms, and what they were never shown.

`python -m benchmarks.words` evaluates the label and the caption model on held-out scenes, by the names of
mask training and by synonyms alone, which only CLIP has read.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.record import check_place, write_record
from odise_trt.cli import boundary, console
from odise_trt.cli.places import folder

if TYPE_CHECKING:
    from reference.checkpoint import WeightsDescription
    from reference.model import ODISE

MODELS = {"labels": "demo", "captions": "demo-caption"}
_KEYS = frozenset({"scenes", "weights", "torch", "models"})
#: Most scenes that are drawn; more make no number better.
MOST_SCENES = 100_000


def main(
    weights: Annotated[
        str, typer.Option(help='"demo", or a folder that reference.demo trained into.')
    ] = "demo",
    count: Annotated[int, typer.Option(min=1, max=MOST_SCENES, help="Held-out scenes.")] = 100,
    output: Annotated[
        Path, typer.Option(help="Folder for words.json.", parser=folder, metavar="PATH")
    ] = Path("outputs"),
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
) -> None:
    """Evaluate both demo models in PyTorch and print PQ by kind of word."""
    import torch
    from rich.table import Table

    path = output / "words.json"
    check_place(path, _KEYS)
    if threads:
        torch.set_num_threads(threads)
    rows = {supervision: evaluated(preset, weights, count) for supervision, preset in MODELS.items()}
    table = Table("supervision", *next(iter(rows.values())))
    for supervision, row in rows.items():
        table.add_row(supervision, *("-" if value is None else f"{value:.1f}" for value in row.values()))
    console.output().print(table)
    write_record(path, {"scenes": count, "weights": weights, "torch": torch.__version__, "models": rows})


def evaluated(preset: str, weights: str, count: int) -> dict[str, float | None]:
    """PQ of one model, by kind of word, in percent; None: the scenes have nothing of the kind."""
    from reference.demo.held_out import held_out
    from reference.demo.scene_store import NOVEL
    from reference.demo.words import SYNONYMS, only_synonyms, training_names
    from reference.eval import ReferencePredictor, evaluate

    predictor = ReferencePredictor(*load_demo(preset, weights))
    by_name, by_synonym = (
        evaluate(predictor, held_out(count, name)) for name in ("scenes-names", "scenes-synonyms")
    )
    named = {row["name"]: row for row in by_name.categories}
    # The categories keep their places, whatever they are called.
    renamed = dict(zip(training_names().names, by_synonym.categories, strict=True))
    assert [row["name"] for row in by_synonym.categories] == list(only_synonyms().names)
    return {
        "PQ, trained names": _pq(row for name, row in named.items() if name != NOVEL),
        "PQ, 9 trained names with synonyms": _pq(named[name] for name in SYNONYMS),
        "PQ, their synonyms": _pq(renamed[name] for name in SYNONYMS),
        f"PQ, novel ({NOVEL})": _pq([named[NOVEL]]),
        "PQ, all": by_name.metrics["PQ"],
        "mIoU, all": by_name.metrics["mIoU"],
    }


def load_demo(preset: str, weights: str) -> tuple[ODISE, WeightsDescription]:
    """A demo model, and where its weights are from.

    Args:
        preset: "demo" or "demo-caption".
        weights: "demo", or a folder that reference.demo trained into.
    """
    from reference.checkpoint import describe_weights, load_weights

    if weights == "demo":
        return load_weights(preset, "demo"), describe_weights(preset, "demo")
    label, caption = (str(Path(weights) / f"{name}.safetensors") for name in ("demo", "demo-caption"))
    if preset == "demo":
        return load_weights(preset, label), describe_weights(preset, label)
    return load_weights(preset, caption, frozen=label), describe_weights(preset, caption)


def _pq(rows: Iterable[Mapping[str, Any]]) -> float | None:
    scored = [row["PQ"] for row in rows if row["PQ"] is not None]
    return statistics.fmean(scored) if scored else None


if __name__ == "__main__":
    boundary.run(lambda: typer.run(main))

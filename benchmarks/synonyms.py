"""Quality of the demo models for trained names, for synonyms, and for a category they never saw.

`odise-trt bench synonyms` evaluates the label and the caption model on held-out scenes. One evaluation uses
the names of mask training, the other only synonyms, which only CLIP has read.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from benchmarks.demo_models import load_demo

if TYPE_CHECKING:
    from rich.table import Table


def evaluated(preset: str, weights: str, count: int) -> dict[str, float | None]:
    """Return the PQ of one model per kind of word, in percent. None: no scene has a segment of the kind."""
    from reference.demo.scene_store import NOVEL
    from reference.eval import ReferencePredictor, evaluate
    from reference.scenes.held_out import held_out
    from reference.scenes.words import SYNONYMS, only_synonyms, training_names

    predictor = ReferencePredictor(*load_demo(preset, weights))
    by_name, by_synonym = (
        evaluate(predictor, held_out(count, name)) for name in ("scenes-names", "scenes-synonyms")
    )
    named = {row["name"]: row for row in by_name.categories}
    # The categories keep their numbers under other names.
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


def table(rows: Mapping[str, Mapping[str, float | None]]) -> Table:
    """Make a table with a row per model and a column per kind of word."""
    from rich.table import Table

    shown = Table("supervision", *next(iter(rows.values())))
    for supervision, row in rows.items():
        shown.add_row(supervision, *("-" if value is None else f"{value:.1f}" for value in row.values()))
    return shown


def _pq(rows: Iterable[Mapping[str, Any]]) -> float | None:
    scored = [row["PQ"] for row in rows if row["PQ"] is not None]
    return statistics.fmean(scored) if scored else None

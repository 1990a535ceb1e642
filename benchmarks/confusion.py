"""The mistakes of the demo models: the names they give to pixels, and how well masks cover novel segments.

`odise-trt bench confusion` evaluates both models on held-out scenes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rich.table import Table

    from reference.model import ODISE

#: A mask covers a segment if they overlap by more than this, the threshold of panoptic quality.
FOUND = 0.5


def mistakes(model: ODISE, count: int) -> dict[str, Any]:
    """Count the names that one model gives to pixels and masks.

    Returns:
        called: per category, the share of its pixels per predicted name, the largest first.
        covered: for the novel category, the number of segments, the number covered by a mask, and the names
            that the model gives to these masks.
    """
    from odise_trt.cli.progress import followed
    from reference.datasets.example import IGNORED
    from reference.demo.scene_store import NOVEL
    from reference.inference import segment_photo
    from reference.scenes.held_out import held_out

    scenes = held_out(count, "scenes-names")
    names, novel = scenes.vocabulary.names, scenes.vocabulary.names.index(NOVEL)
    encoded = model.encode(scenes.vocabulary.synonyms)
    pixels = np.zeros((len(names), len(names)), np.int64)
    segments, said = 0, Counter[str]()
    for index in followed(range(count), model.preset.name, count):
        scene = scenes[index]
        result = segment_photo(model, scene.image, scenes.vocabulary, encoded=encoded)
        semantic, panoptic = scene.semantic, scene.panoptic
        assert semantic is not None
        known = semantic != IGNORED
        np.add.at(pixels, (semantic[known], result.semantic.argmax(0).numpy()[known]), 1)
        masks, classes = result.mask_pred.numpy() > 0, result.mask_cls.argmax(1)
        for segment in scene.segments:
            if segment.category != novel:
                continue
            segments += 1
            truth = panoptic == segment.id
            overlap = (masks & truth).sum((1, 2)) / (masks | truth).sum((1, 2))
            best = int(overlap.argmax())
            if overlap[best] > FOUND:
                said[[*names, "nothing"][int(classes[best])]] += 1
    shares = pixels / np.maximum(pixels.sum(1, keepdims=True), 1)
    called = {
        name: {names[other]: round(float(row[other]), 3) for other in np.argsort(-row) if row[other] > 0}
        for name, row in zip(names, shares, strict=True)
    }
    return {
        "called": called,
        "covered": {"segments": segments, "by a mask": said.total(), "said": dict(said)},
    }


def table(found: Mapping[str, Mapping[str, Any]]) -> Table:
    """Make a table with a row per category: the names that each model gives to most of its pixels."""
    from rich.table import Table

    shown = Table("category", *(f"called, {supervision}" for supervision in found))
    for name in next(iter(found.values()))["called"]:
        shown.add_row(name, *(_shares(record["called"][name]) for record in found.values()))
    return shown


def covered_text(supervision: str, covered: Mapping[str, Any]) -> str:
    """Describe how many segments of the novel category a model covers with a mask, and their names."""
    from reference.demo.scene_store import NOVEL

    said = ", ".join(f"{name} {number}" for name, number in covered["said"].items())
    return (
        f"{supervision}: {covered['by a mask']} of {covered['segments']} segments of {NOVEL} have a mask"
        f" that overlaps by more than {FOUND}; it says: {said or '-'}"
    )


def _shares(called: dict[str, float]) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in list(called.items())[:3])

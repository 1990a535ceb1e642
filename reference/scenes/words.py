"""The words of the demo model: those of mask training, and those that occur in captions only."""

from __future__ import annotations

from dataclasses import replace

from odise_trt.vocabulary import Vocabulary
from reference.scenes import SCENE_VOCABULARY

#: Synonyms of categories. A plural is not among them: it is too similar to the trained word.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "mountain": ("hill",),
    "grass": ("meadow", "lawn"),
    "sand": ("beach",),
    "water": ("lake", "sea"),
    "road": ("street",),
    "house": ("cottage", "building"),
    "car": ("automobile",),
    "boat": ("sailboat", "ship"),
    "rock": ("stone", "boulder"),
}


def training_names() -> Vocabulary:
    """Return each category with the one word of mask training; the novel category keeps its first name."""
    return _renamed({})


def only_synonyms() -> Vocabulary:
    """Return each category with its `SYNONYMS` only; those without synonyms as in `training_names`."""
    return _renamed(SYNONYMS)


def _renamed(names: dict[str, tuple[str, ...]]) -> Vocabulary:
    categories = tuple(
        replace(category, names=names.get(category.name, (category.name,)))
        for category in SCENE_VOCABULARY.categories
    )
    return replace(SCENE_VOCABULARY, categories=categories)

"""The demo model's words: those it was trained with, and those it only read in captions."""

from __future__ import annotations

from dataclasses import replace

from odise_trt.vocabulary import Vocabulary
from reference.scenes import SCENE_VOCABULARY

#: Categories with other words than their plural, which their first name would give away.
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
    """Every category by the one word that mask training knows it by; the novel one by its own."""
    return _renamed({})


def only_synonyms() -> Vocabulary:
    """Every category that has other words by those alone, the others as `training_names`."""
    return _renamed(SYNONYMS)


def _renamed(names: dict[str, tuple[str, ...]]) -> Vocabulary:
    categories = tuple(
        replace(category, names=names.get(category.name, (category.name,)))
        for category in SCENE_VOCABULARY.categories
    )
    return replace(SCENE_VOCABULARY, categories=categories)

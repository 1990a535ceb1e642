"""Make captions of a picture from the names of its categories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from odise_trt.vocabulary import Vocabulary

_COUNTS = {1: "a", 2: "two", 3: "three"}
_OPENINGS = ("a photo of", "a picture of", "a painting of", "a scene with", "there is", "we see", "")
_PLURALS = {"person": "people", "people": "people", "bus": "buses"}
#: Most categories that one sentence names.
_MOST = 6


def describe(
    categories: Sequence[int], vocabulary: Vocabulary, rng: np.random.Generator, most: int = _MOST
) -> str:
    """Return a sentence that names some of the categories.

    Each category is called by one of its names, all equally likely. From this a model learns that a boulder
    is a rock.

    Args:
        categories: one index into `vocabulary` per segment; things may repeat.
        vocabulary: the names.
        rng: chooses the categories, their order and their names.
        most: largest number of categories to name.
    """
    counts = Counter(categories)
    chosen = rng.permutation(sorted(counts))[:most]
    parts = [_phrase(int(index), counts[int(index)], vocabulary, rng) for index in chosen]
    opening = _OPENINGS[int(rng.integers(len(_OPENINGS)))]
    listed = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
    return f"{opening} {listed}.".strip()


def _phrase(index: int, count: int, vocabulary: Vocabulary, rng: np.random.Generator) -> str:
    names = vocabulary.synonyms[index]
    name = names[int(rng.integers(len(names)))]
    if not vocabulary.isthing[index] or _plural(name):
        return name
    if count == 1:
        return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
    plural = _PLURALS.get(name) or (name if name.endswith("s") else f"{name}s")
    return f"{_COUNTS.get(count, 'many')} {plural}"


def _plural(name: str) -> bool:
    return name == "people" or (name.endswith("s") and not name.endswith("ss"))

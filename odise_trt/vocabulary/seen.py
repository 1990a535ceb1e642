"""Which categories a model has seen in training."""

from __future__ import annotations

from collections.abc import Iterable


def seen_in(categories: Iterable[Iterable[str]], train_labels: Iterable[Iterable[str]]) -> tuple[bool, ...]:
    """Return for each category whether one of its names equals a name of a training category.

    This is the official rule, and it is case-sensitive: "cat" is a training label of the official models,
    "Cat" is not. The fusion with CLIP uses alpha for seen and beta for unseen categories.

    Args:
        categories, train_labels: the names of every category, the first name and its synonyms.
    """
    trained = {name for names in train_labels for name in names}
    return tuple(not trained.isdisjoint(names) for names in categories)

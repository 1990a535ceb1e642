"""Find the categories that a model has seen in training, by exactly equal names."""

from __future__ import annotations

from collections.abc import Iterable

from odise_trt.vocabulary import Vocabulary


def overlap_with(vocabulary: Vocabulary, train_labels: Vocabulary | None = None) -> tuple[bool, ...]:
    """Return for each category whether one of its names equals a name of a training category.

    This is the official rule, and it is case-sensitive: "cat" is a training label of the official models,
    "Cat" is not. The fusion with CLIP uses alpha for seen and beta for unseen categories.

    Args:
        vocabulary: the categories.
        train_labels: of the training; None: COCO panoptic, which the official models were trained on.
    """
    train_labels = Vocabulary.preset("coco") if train_labels is None else train_labels
    seen = set(_flat(train_labels.synonyms))
    return tuple(not seen.isdisjoint(names) for names in vocabulary.synonyms)


def _flat(synonyms: Iterable[Iterable[str]]) -> Iterable[str]:
    return (name for names in synonyms for name in names)

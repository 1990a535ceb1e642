"""Which categories a model has seen in training: equality of names, letter by letter."""

from __future__ import annotations

from collections.abc import Iterable

from odise_trt.vocabulary import Vocabulary


def overlap_with(vocabulary: Vocabulary, train_labels: Vocabulary | None = None) -> tuple[bool, ...]:
    """Per category, whether one of its names is exactly a name of a training category.

    "cat" is in the training labels of the official models, "Cat" is not: that is the official rule, and what
    decides between alpha and beta in the fusion with CLIP.

    Args:
        vocabulary: the categories asked about.
        train_labels: None: COCO panoptic, which the official models were trained on.
    """
    train_labels = Vocabulary.preset("coco") if train_labels is None else train_labels
    seen = set(_flat(train_labels.synonyms))
    return tuple(not seen.isdisjoint(names) for names in vocabulary.synonyms)


def _flat(synonyms: Iterable[Iterable[str]]) -> Iterable[str]:
    return (name for names in synonyms for name in names)

"""Find the categories that a model has seen in training, by exactly equal names."""

from __future__ import annotations

from odise_trt.vocabulary import Vocabulary
from odise_trt.vocabulary.seen import seen_in


def overlap_with(vocabulary: Vocabulary, train_labels: Vocabulary | None = None) -> tuple[bool, ...]:
    """Return for each category whether a model has seen it in training, see `seen_in`.

    Args:
        vocabulary: the categories.
        train_labels: of the training; None: COCO panoptic, which the official models were trained on.
    """
    train_labels = Vocabulary.preset("coco") if train_labels is None else train_labels
    return seen_in(vocabulary.synonyms, train_labels.synonyms)

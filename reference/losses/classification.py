"""Classification of masks in training (ODISE, sec. 3.5)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from reference.losses.matcher import Match
from reference.losses.texts import embed_texts
from reference.model import ODISE
from reference.model.mask_decoder import Prediction
from reference.model.open_vocabulary import best_synonym, prompted, similarity

#: From a prediction to its class logits (B, Q, K+1), "no object" last.
Classify = Callable[[Prediction], Tensor]


def classifier(model: ODISE) -> Classify:
    """Return the function that classifies the predictions of a model in training.

    Label supervision compares with the training labels (eq. 4 and 5). The logit of a category is
    exp(tau) * cos(mask_embed, T(synonym)) of its best synonym, where T is `text_proj` of CLIP's frozen
    embedding. "No object" is the learned `null_embed`, with the same projection. Caption supervision has no
    labels: its logits are `pred_logits`, object or no object.
    """
    if model.preset.kind == "caption":
        return _objectness
    labels = model.train_labels
    names = embed_texts(model.clip, prompted(labels, model.preset.category_prompt))
    head = model.category_head
    text_embed = head.text_proj(torch.cat([names, head.null_embed]))
    scale = model.mask_head.predictor.post_mask_embed.scale()
    names_of_all = (*labels, ("no object",))

    def classify(prediction: Prediction) -> Tensor:
        return best_synonym(similarity(prediction.mask_embed, text_embed, scale), names_of_all)

    return classify


def _objectness(prediction: Prediction) -> Tensor:
    if prediction.pred_logits is None:
        raise TypeError("a label model has no pred_logits")
    return prediction.pred_logits


def category_loss(logits: Tensor, classes: list[Tensor], matches: list[Match], weight: Tensor) -> Tensor:
    """Cross entropy of every query with the class of its segment, or with "no object" (eq. 6).

    Args:
        logits: (B, Q, K+1).
        classes: int64 (N,) per image.
        matches: per image.
        weight: (K+1,), of the classes; the loss is the weighted mean.
    """
    targets = torch.full(logits.shape[:2], logits.shape[2] - 1, device=logits.device)
    for target, segments, pairs in zip(targets, classes, matches, strict=True):
        target[pairs.queries] = segments[pairs.targets]
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), weight.to(logits.dtype))

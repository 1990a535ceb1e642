"""All losses of one training step, given the feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from reference.losses import masks as mask_losses
from reference.losses.batch import Batch, Target
from reference.losses.classification import Classify, category_loss, classifier
from reference.losses.config import LossConfig
from reference.losses.gather import mean
from reference.losses.grounding import grounding_loss
from reference.losses.matcher import Match, match
from reference.losses.points import importance_points, sample
from reference.losses.random_points import Draws, RandomDraws
from reference.losses.texts import embed_texts
from reference.model import ODISE
from reference.model.backbone import PYRAMID
from reference.model.mask_decoder import Prediction
from reference.model.mask_head import MaskHeadOutput
from reference.model.open_vocabulary import prompted
from reference.model.precision import at_least_float32


class Supervision(NamedTuple):
    """The losses of one step. Names of the last prediction have no suffix, those of earlier ones _0, _1, ...

    Attributes:
        losses: the weighted terms. Training minimises their sum.
        unweighted: the terms without weights.
        matches: per prediction, the last one first, and per image.
    """

    losses: dict[str, Tensor]
    unweighted: dict[str, Tensor]
    matches: list[list[Match]]


def predictions_losses(
    model: ODISE,
    pyramid: Sequence[Tensor],
    batch: Batch,
    *,
    generator: torch.Generator | None = None,
    config: LossConfig = LossConfig(),  # noqa: B008 (frozen)
    draws: Draws | None = None,
) -> dict[str, Tensor]:
    """Weighted losses of the mask head on a feature pyramid; see `reference.losses.training_losses`.

    Args:
        pyramid: (s2, s3, s4, s5) of the padded images.
        batch: only its targets are used.
    """
    return supervise(model, pyramid, batch, draws or RandomDraws(generator), config).losses


def supervise(
    model: ODISE, pyramid: Sequence[Tensor], batch: Batch, draws: Draws, config: LossConfig
) -> Supervision:
    """Compute the losses and their matches, in at least float32, also under autocast."""
    head: MaskHeadOutput = model.mask_head(*pyramid, aux=True)
    size = (PYRAMID[0] * pyramid[0].shape[-2], PYRAMID[0] * pyramid[0].shape[-1])
    device = pyramid[0].device
    with torch.autocast(device.type, enabled=False):
        return _Step(model, size, batch.targets, draws, config).supervise(_predictions(head))


class _Step:
    """The truth of one step, prepared for the comparison with all predictions."""

    def __init__(
        self, model: ODISE, size: tuple[int, int], targets: Sequence[Target], draws: Draws, config: LossConfig
    ) -> None:
        self.model, self.draws, self.config = model, draws, config
        self.caption = model.preset.kind == "caption"
        # Padded and converted once, because every prediction is compared with all masks.
        dtype = torch.promote_types(model.criterion.empty_weight.dtype, torch.float32)
        self.masks = [pad_masks(target.masks, size).to(dtype) for target in targets]
        # Captions do not name segments, so the class of every segment is "object".
        classes = [target.classes for target in targets]
        self.classes = [torch.zeros_like(c) for c in classes] if self.caption else classes
        self.words = [target.words for target in targets]
        total = sum(len(masks) for masks in self.masks)
        # Without any segment there is no truth about objects, so only the word loss counts.
        self.segments_count = not (self.caption and total == 0)
        count = torch.tensor(float(total), device=model.criterion.empty_weight.device)
        self.num_masks = float(mean(count).clamp(min=1))

    def supervise(self, predictions: list[Prediction]) -> Supervision:
        """Compute the losses of all predictions, the last one first."""
        word_losses = self._grounding(predictions) if self.caption else None
        classify = classifier(self.model)
        weights = self._weights()
        losses: dict[str, Tensor] = {}
        unweighted: dict[str, Tensor] = {}
        matches = []
        for index, prediction in enumerate(predictions):
            terms, pairs = self._segments(prediction, classify)
            if word_losses is not None:
                terms["loss_mask_word"] = word_losses[index]
            suffix = "" if index == 0 else f"_{index - 1}"
            unweighted |= {name + suffix: term for name, term in terms.items()}
            losses |= {name + suffix: weights[name] * term for name, term in terms.items()}
            matches.append(pairs)
        return Supervision(losses, unweighted, matches)

    def _segments(self, prediction: Prediction, classify: Classify) -> tuple[dict[str, Tensor], list[Match]]:
        logits = classify(prediction)
        matches = [
            match(*image, self.draws, self.config)
            for image in zip(logits, prediction.pred_masks, self.classes, self.masks, strict=True)
        ]
        predicted = torch.cat(
            [masks[pairs.queries] for masks, pairs in zip(prediction.pred_masks, matches, strict=True)]
        )
        truth = torch.cat([masks[pairs.targets] for masks, pairs in zip(self.masks, matches, strict=True)])
        points = importance_points(predicted.detach(), self.draws, self.config)
        at_points = sample(predicted, points)
        truth_at_points = sample(truth, points)
        terms = {
            "loss_ce": category_loss(logits, self.classes, matches, self.model.criterion.empty_weight),
            "loss_mask": mask_losses.sigmoid_cross_entropy(at_points, truth_at_points, self.num_masks),
            "loss_dice": mask_losses.dice(at_points, truth_at_points, self.num_masks),
        }
        return terms, matches

    def _grounding(self, predictions: list[Prediction]) -> Tensor:
        """Compute the grounding loss per prediction, (L,)."""
        model, count = self.model, self.config.num_words
        drawn = [self.draws.words(words, count) if words else ("",) * count for words in self.words]
        texts = embed_texts(model.clip, prompted(drawn, model.preset.category_prompt))
        word_embed = model.word_head.text_proj(texts).unflatten(0, (len(drawn), count))
        valid = torch.tensor([bool(words) for words in self.words], device=word_embed.device)
        mask_embed = torch.stack([prediction.mask_embed for prediction in predictions])
        scale = model.mask_head.predictor.post_mask_embed.scale()
        return grounding_loss(mask_embed, word_embed, valid, scale)

    def _weights(self) -> dict[str, float]:
        config, segments = self.config, float(self.segments_count)
        return {
            "loss_ce": config.class_weight * segments,
            "loss_mask": config.mask_weight * segments,
            "loss_dice": config.dice_weight * segments,
            "loss_mask_word": config.word_weight,
        }


def pad_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Zero-pad target masks (N, H, W) at the bottom and right to `size`, as the images are padded.

    Raises:
        ValueError: the masks are larger than `size`.
    """
    bottom, right = size[0] - masks.shape[-2], size[1] - masks.shape[-1]
    if bottom < 0 or right < 0:
        raise ValueError(f"masks of {tuple(masks.shape[-2:])} pixels for an image of {size}")
    return F.pad(masks, (0, right, 0, bottom))


def _predictions(head: MaskHeadOutput) -> list[Prediction]:
    """Return the last prediction, then the earlier ones, in at least float32."""
    last = Prediction(head.pred_masks, head.mask_embed, head.pred_logits, head.mask_embed)
    return [
        prediction._replace(
            pred_masks=at_least_float32(prediction.pred_masks),
            mask_embed=at_least_float32(prediction.mask_embed),
            pred_logits=None if prediction.pred_logits is None else at_least_float32(prediction.pred_logits),
        )
        for prediction in (last, *head.aux)
    ]

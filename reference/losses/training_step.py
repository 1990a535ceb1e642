"""One training step's forward pass, from images to losses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from reference.losses.batch import Batch
from reference.losses.config import LossConfig
from reference.losses.random_points import Draws, RandomDraws
from reference.losses.set_criterion import predictions_losses
from reference.model import ODISE
from reference.model.ablations.given_captions import GivenCaptioner
from reference.model.windows import image_features


def training_losses(
    model: ODISE,
    batch: Batch,
    *,
    generator: torch.Generator | None = None,
    config: LossConfig = LossConfig(),  # noqa: B008 (frozen)
    draws: Draws | None = None,
) -> dict[str, Tensor]:
    """The losses of a batch, weighted: their sum is what training minimises.

    Gradients reach the captioner through the frozen UNet, whose own parameters get none. Works under
    autocast, where the losses themselves stay in float32, and in several processes that average
    gradients: then all of them call it, with batches of one size.

    Args:
        model: the model, on the device of the batch.
        batch: images and their truth.
        generator: of the random points and words; the global one of the device by default.
        config: weights and numbers of points.
        draws: the random numbers themselves, in place of a generator.

    Returns:
        `loss_ce` (classes, eq. 4 to 6), `loss_mask`, `loss_dice` and, for caption models,
        `loss_mask_word` (eq. 7 and 8) of the last prediction, and of those before it with the
        suffixes _0 (of the queries before the first layer), _1, ...

    Raises:
        FloatingPointError: a prediction is not finite.
        ValueError: images and masks do not fit.
    """
    with _told(model, batch):
        pyramid = training_pyramid(model, batch.images, checkpointing=config.checkpointing)
    return predictions_losses(model, pyramid, batch, config=config, draws=draws or RandomDraws(generator))


def _told(model: ODISE, batch: Batch) -> AbstractContextManager[None]:
    """For the ablation that is told what is in an image: tells it.

    The backward pass needs no captions: what the text encoder made of them is an input of whatever is
    recomputed. A batch without captions is for callers that give them themselves.
    """
    captions = [target.caption for target in batch.targets]
    if not isinstance(model.captioner, GivenCaptioner) or not any(captions):
        return nullcontext()
    return model.captioner.given(captions)


def training_pyramid(model: ODISE, images: Tensor, *, checkpointing: bool = False) -> tuple[Tensor, ...]:
    """(s2, s3, s4, s5) of uint8 images (B, 3, H, W), zero-padded to `preset.divisor`, with gradients."""
    padded = model.pad(images.float() / 255)
    if not (checkpointing and torch.is_grad_enabled()):
        return image_features(model.backbone, padded)
    with recomputed(_costly(model.backbone)):
        return image_features(model.backbone, padded)


@contextmanager
def recomputed(modules: Iterable[nn.Module]) -> Iterator[None]:
    """In this context these modules keep their inputs alone, and run again in the backward pass."""
    wrapped: list[Any] = list(modules)
    for module in wrapped:
        module.forward = partial(checkpoint, module.forward, use_reentrant=False, preserve_rng_state=False)
    try:
        yield
    finally:
        for module in wrapped:
            del module.forward


def _costly(backbone: nn.Module) -> Iterator[nn.Module]:
    """The projections, and the residual and attention blocks of the UNet where there is one."""
    yield from getattr(backbone, "feature_projections", ())
    unet: Any = getattr(getattr(backbone, "diffusion", None), "unet", None)
    if unet is not None:
        for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks):
            yield from (*block.resnets, *(getattr(block, "attentions", None) or ()))

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
    """Compute the weighted losses of a batch. Training minimises their sum.

    Gradients reach the captioner through the frozen UNet, whose own parameters get no gradient. Under
    autocast the losses stay in float32. If several processes average their gradients, all of them must call
    this function, with batches of the same size.

    Args:
        model: the model, on the device of the batch.
        batch: images and their truth.
        generator: for random points and words. Default: the global generator of the device.
        config: weights and numbers of points.
        draws: the random numbers themselves, instead of a generator.

    Returns:
        `loss_ce` (classes, eq. 4 to 6), `loss_mask`, `loss_dice` and, for caption models,
        `loss_mask_word` (eq. 7 and 8) of the last prediction. Those of earlier predictions have the
        suffixes _0 (before the first layer), _1, ...

    Raises:
        FloatingPointError: a prediction is not finite.
        ValueError: images and masks do not fit.
    """
    with _told(model, batch):
        pyramid = training_pyramid(model, batch.images, checkpointing=config.checkpointing)
    return predictions_losses(model, pyramid, batch, config=config, draws=draws or RandomDraws(generator))


def _told(model: ODISE, batch: Batch) -> AbstractContextManager[None]:
    """Give the captions of the batch to a model that uses given captions (an ablation).

    The backward pass needs no captions, because recomputed modules receive the text embeddings as inputs. A
    batch without captions is for callers that give the captions themselves.
    """
    captions = [target.caption for target in batch.targets]
    if not isinstance(model.captioner, GivenCaptioner) or not any(captions):
        return nullcontext()
    return model.captioner.given(captions)


def training_pyramid(model: ODISE, images: Tensor, *, checkpointing: bool = False) -> tuple[Tensor, ...]:
    """Compute (s2, s3, s4, s5), with gradients, of uint8 images (B, 3, H, W) padded to `preset.divisor`."""
    padded = model.pad(images.float() / 255)
    if not (checkpointing and torch.is_grad_enabled()):
        return image_features(model.backbone, padded)
    with recomputed(_costly(model.backbone)):
        return image_features(model.backbone, padded)


@contextmanager
def recomputed(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Store only the inputs of these modules in this context, and run them again in the backward pass."""
    wrapped: list[Any] = list(modules)
    for module in wrapped:
        module.forward = partial(checkpoint, module.forward, use_reentrant=False, preserve_rng_state=False)
    try:
        yield
    finally:
        for module in wrapped:
            del module.forward


def _costly(backbone: nn.Module) -> Iterator[nn.Module]:
    """Yield the projections, and the residual and attention blocks of the UNet if there is one."""
    yield from getattr(backbone, "feature_projections", ())
    unet: Any = getattr(getattr(backbone, "diffusion", None), "unet", None)
    if unet is not None:
        for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks):
            yield from (*block.resnets, *(getattr(block, "attentions", None) or ()))

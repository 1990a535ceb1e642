"""Train ODISE on the small frozen models: first projections and mask head, then also the captioner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from reference.demo.fit import Schedule, fit
from reference.demo.raw_features import RawFeatures
from reference.demo.scene_store import SceneStore
from reference.losses import Batch, LossConfig, Target, predictions_losses, training_losses
from reference.model import ODISE
from reference.scenes import SCENE_VOCABULARY
from reference.scenes.captions import describe

#: The mask losses sample a quarter of a mask's 64 x 64 pixels. Officially: a fifth, 12,544 of 256 x 256.
LOSS = LossConfig(num_points=1024, checkpointing=False)

#: Precision of projections and mask head; losses stay in float32. Saves a fifth of the time of a step on
#: cores with AVX512-BF16.
PRECISION = torch.bfloat16


def train_on_features(
    model: ODISE, store: SceneStore, features: RawFeatures, schedule: Schedule, checkpoint: Path
) -> list[float]:
    """Train all but the captioner on precomputed features; return the loss of every step."""

    def loss(rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        chosen = rng.choice(len(store), schedule.batch, replace=False)
        batch = make_batch(model, store, chosen, rng)
        with torch.autocast(batch.images.device.type, PRECISION):
            pyramid = features.pyramid(model, chosen)
            losses = predictions_losses(model, pyramid, batch, generator=generator, config=LOSS)
        return _total(losses)

    head = [(n, p) for n, p in trainable(model) if not n.startswith("backbone.feature_extractor.")]
    return fit("mask head", head, loss, schedule, checkpoint)


def train_end_to_end(model: ODISE, store: SceneStore, schedule: Schedule, checkpoint: Path) -> list[float]:
    """Train all that ODISE trains, the captioner through the frozen UNet; return the loss of every step."""

    def loss(rng: np.random.Generator, generator: torch.Generator) -> Tensor:
        chosen = rng.choice(len(store), schedule.batch, replace=False)
        batch = make_batch(model, store, chosen, rng)
        return _total(training_losses(model, batch, generator=generator, config=LOSS))

    return fit("captioner and mask head", trainable(model), loss, schedule, checkpoint)


def make_batch(model: ODISE, store: SceneStore, chosen: np.ndarray, rng: np.random.Generator) -> Batch:
    """Make a training batch of some scenes.

    A label model gets every segment with its label. A caption model gets the segments without labels, and
    the nouns of a caption.
    """
    number = {names[0]: index for index, names in enumerate(model.train_labels)}
    targets = []
    for index in chosen:
        categories = store.categories[index]
        ids = torch.from_numpy(np.array(store.maps[index]))
        masks = ids[None] == torch.arange(1, len(categories) + 1, dtype=ids.dtype)[:, None, None]
        if model.preset.kind == "label":
            classes = [number[SCENE_VOCABULARY[category].name] for category in categories]
            targets.append(Target(masks, torch.tensor(classes)))
        else:
            words = named(categories, rng)
            targets.append(Target(masks, torch.zeros(len(categories), dtype=torch.int64), words))
    images = torch.from_numpy(np.asarray(store.images[chosen])).permute(0, 3, 1, 2)
    return Batch(images, tuple(targets)).to(model.criterion.empty_weight.device)


def named(categories: tuple[int, ...], rng: np.random.Generator) -> tuple[str, ...]:
    """Return the nouns of a random caption of a scene."""
    # Imported here, because label models do not need the tagger.
    from reference.datasets.caption_words import caption_words

    return caption_words(describe(categories, SCENE_VOCABULARY, rng))


def trainable(model: ODISE) -> Iterator[tuple[str, nn.Parameter]]:
    """Return the parameters that ODISE trains, by name."""
    return ((name, p) for name, p in model.named_parameters() if p.requires_grad)


def _total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()

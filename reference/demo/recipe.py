"""Training schedules of all parts of the demo model."""

from __future__ import annotations

from dataclasses import dataclass

from reference.demo.fit import Schedule


@dataclass(frozen=True)
class Recipe:
    """Numbers of scenes, and the schedule of every part.

    Attributes:
        frozen_scenes: number of scenes for the frozen models, with all categories.
        mask_scenes: number of scenes for the mask head, without the novel category.
        clip, autoencoder, unet: of the frozen models.
        head: of projections and mask head, on precomputed features.
        together: of everything that ODISE trains, the captioner included.
        caption_head, caption_together: the same for the caption model.
    """

    frozen_scenes: int
    mask_scenes: int
    clip: Schedule
    autoencoder: Schedule
    unet: Schedule
    head: Schedule
    together: Schedule
    caption_head: Schedule
    caption_together: Schedule


#: The recipe of the shipped weights.
FULL = Recipe(
    frozen_scenes=4000,
    mask_scenes=6000,
    clip=Schedule(1150, 64, 1e-3, weight_decay=0.05),
    autoencoder=Schedule(1150, 16, 1e-3),
    unet=Schedule(500, 24, 1e-3),
    head=Schedule(8000, 8, 8e-4, weight_decay=0.05, clip=0.1),
    together=Schedule(80, 8, 1e-4, weight_decay=0.05, clip=0.1),
    caption_head=Schedule(2400, 8, 8e-4, weight_decay=0.05, clip=0.1),
    caption_together=Schedule(40, 8, 1e-4, weight_decay=0.05, clip=0.1),
)

#: A few steps of every part, to test that it runs and that losses fall.
SMOKE = Recipe(
    frozen_scenes=32,
    mask_scenes=16,
    clip=Schedule(12, 16, 1e-3),
    autoencoder=Schedule(12, 8, 2e-3),
    unet=Schedule(12, 8, 2e-3),
    head=Schedule(12, 4, 1e-3, clip=0.1),
    together=Schedule(3, 2, 1e-4, clip=0.1),
    caption_head=Schedule(6, 4, 1e-3, clip=0.1),
    caption_together=Schedule(2, 2, 1e-4, clip=0.1),
)

"""Stage `raw_features`, optional: the eight features of the diffusion model, for other work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor as Array

from odise_trt.features.names import RAW
from odise_trt.stage_spec import COMPUTE, StageSpec, Tensor
from reference.model.diffusion import STRIDES, raw_channels
from reference.model.raw_features import RawFeatures as Model
from reference.noise_schedule import STEPS
from reference.preset import Preset

from .features import Features
from .wrapper import StageWrapper

if TYPE_CHECKING:
    from reference.model import ODISE


class RawFeatures(StageWrapper):
    """VAE encoder, UNet at any step and the used part of the VAE decoder, without projections.

    Shapes:
        windows      (W, 3, side, side)  RGB in [0, 1]
        cond_inputs  (W, 77, C)
        cond_emb     (W, T)
        time_step    (1,)                int64, 0 to 999
        enc5 .. dec5 (W, Ci, side/stride, side/stride)
    """

    example_stages = ("captioner",)
    # In bf16, time steps beyond 256 would be rounded to every second one, or fewer.
    bf16 = False
    # Two tables of a thousand numbers. Rounded to half, neighbouring steps would be one.
    float32 = ("raw.mixture",)
    islands = ("normalisation statistics", "softmax", "the mixture of latent and noise")

    def __init__(self, model: ODISE) -> None:
        super().__init__(model)
        self.raw = Model(model.backbone)

    @classmethod
    def declare(cls, preset: Preset) -> StageSpec:
        """See `StageWrapper.declare`."""
        projected = Features.declare(preset)
        return StageSpec(
            name="raw_features",
            inputs=(*projected.inputs, Tensor("time_step", "int64", (1,))),
            outputs=tuple(
                Tensor(name, COMPUTE, ("windows", channels, f"side/{stride}", f"side/{stride}"))
                for name, channels, stride in zip(RAW, raw_channels(preset), STRIDES, strict=True)
            ),
            axes=projected.axes,
            profiles=projected.profiles,
        )

    @classmethod
    def examples(
        cls, model: ODISE, sizes: Mapping[str, int], generator: torch.Generator
    ) -> tuple[Array, ...]:
        """Those of `features`, at step 0 for full windows and at a random step for smaller ones."""
        step = torch.randint(1, STEPS, (1,), generator=generator)
        if sizes["side"] == model.preset.window:
            step = torch.zeros_like(step)
        return (*Features.examples(model, sizes, generator), step)

    def forward(
        self, windows: Array, cond_inputs: Array, cond_emb: Array, time_step: Array
    ) -> tuple[Array, ...]:
        """See the class."""
        return self.raw(windows, cond_inputs, cond_emb, time_step)

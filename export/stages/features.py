"""Stage `features`: multi-scale features of the diffusion model for each window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor as Array

from odise_trt.pipeline import Step
from odise_trt.stage_spec import COMPUTE, StageSpec, Tensor
from reference.model.backbone import PYRAMID
from reference.preset import Preset

from .axes import window_axes, window_profiles
from .examples import images
from .wrapper import StageWrapper

if TYPE_CHECKING:
    from reference.model import ODISE

#: Feature map -> image pixels per element, along one side.
STRIDES = dict(zip(("s2", "s3", "s4", "s5"), PYRAMID, strict=True))


class Features(StageWrapper):
    """VAE encoder, UNet at t = 0 and the used part of the VAE decoder. Features are summed per stride.

    Shapes:
        windows      (W, 3, side, side)  RGB in [0, 1]
        cond_inputs  (W, 77, C)
        cond_emb     (W, T)
        s2 .. s5     (W, Cp, side/4, side/4) .. (W, Cp, side/32, side/32)
    """

    quantized = True
    example_stages = ("captioner",)

    def __init__(self, model: ODISE) -> None:
        super().__init__(model)
        self.features = model.features

    @classmethod
    def declare(cls, preset: Preset) -> StageSpec:
        """See `StageWrapper.declare`."""
        return StageSpec(
            name="features",
            inputs=(
                Tensor("windows", "float32", ("windows", 3, "side", "side")),
                Tensor(
                    "cond_inputs", COMPUTE, ("windows", preset.clip.context_length, preset.unet.context_dim)
                ),
                Tensor("cond_emb", COMPUTE, ("windows", preset.unet.time_embed_dim)),
            ),
            outputs=tuple(
                Tensor(
                    name,
                    COMPUTE,
                    ("windows", preset.head.projection_dim, f"side/{stride}", f"side/{stride}"),
                )
                for name, stride in STRIDES.items()
            ),
            axes=window_axes(preset),
            profiles=window_profiles(preset),
        )

    @classmethod
    def step(cls, preset: Preset) -> Step:
        """See `StageWrapper.step`."""
        return Step(
            "features",
            {
                "windows": "cut.windows",
                "cond_inputs": "captioner.cond_inputs",
                "cond_emb": "captioner.cond_emb",
            },
            repeat="windows",
        )

    @classmethod
    def examples(
        cls, model: ODISE, sizes: Mapping[str, int], generator: torch.Generator
    ) -> tuple[Array, ...]:
        """Random images, and the outputs of the reference's captioner for them."""
        windows = images(sizes["windows"], sizes["side"], sizes["side"], generator)
        return (windows, *model.captioner(windows))

    def forward(self, windows: Array, cond_inputs: Array, cond_emb: Array) -> tuple[Array, ...]:
        """See the class."""
        return tuple(self.features(windows, cond_inputs, cond_emb))

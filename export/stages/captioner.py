"""Stage `captioner`: the condition of the diffusion model for each window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor as Array

from odise_trt.pipeline import Step
from odise_trt.stage_spec import COMPUTE, StageSpec, Tensor
from reference.preset import Preset

from .axes import window_axes, window_profiles
from .examples import images
from .wrapper import StageWrapper

if TYPE_CHECKING:
    from reference.model import ODISE


class Captioner(StageWrapper):
    """Implicit captioner: CLIP's view of a window as a text embedding (ODISE sec. 3.3, eq. 3).

    Shapes:
        windows      (W, 3, side, side)  RGB in [0, 1]
        cond_inputs  (W, 77, C)          conditions the UNet's cross-attention
        cond_emb     (W, T)              added to the time embedding
    """

    def __init__(self, model: ODISE) -> None:
        super().__init__(model)
        self.captioner = model.captioner

    @classmethod
    def declare(cls, preset: Preset) -> StageSpec:
        """See `StageWrapper.declare`."""
        return StageSpec(
            name="captioner",
            inputs=(Tensor("windows", "float32", ("windows", 3, "side", "side")),),
            outputs=(
                Tensor(
                    "cond_inputs", COMPUTE, ("windows", preset.clip.context_length, preset.unet.context_dim)
                ),
                Tensor("cond_emb", COMPUTE, ("windows", preset.unet.time_embed_dim)),
            ),
            axes=window_axes(preset),
            profiles=window_profiles(preset),
        )

    @classmethod
    def step(cls, preset: Preset) -> Step:
        """See `StageWrapper.step`."""
        return Step("captioner", {"windows": "cut.windows"}, repeat="windows")

    @classmethod
    def examples(
        cls, model: ODISE, sizes: Mapping[str, int], generator: torch.Generator
    ) -> tuple[Array, ...]:
        """Random images."""
        return (images(sizes["windows"], sizes["side"], sizes["side"], generator),)

    def forward(self, windows: Array) -> tuple[Array, Array]:
        """See the class."""
        return self.captioner(windows)

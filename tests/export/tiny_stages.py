"""Stages small enough to export in a second or two, with the parts that real ones have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor as Array
from torch import nn
from torch.nn import functional as F

from export.stages.wrapper import StageWrapper
from odise_trt.stage_spec import COMPUTE, Axis, Profile, StageSpec, Tensor
from reference.model.deformable_attention import DeformableAttention

SIDE = 128
CHANNELS = 32

WINDOWS = Axis("windows", 1, 2, 5)
SIDES = Axis("side", 64, SIDE, SIDE, 64)


class Pyramid(StageWrapper):
    """Windows of any side, enlarged, convolved, normalised, attended to and resized to a stride."""

    def __init__(self, model: Any = None) -> None:
        super().__init__(model)
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, CHANNELS, 8, 8)
        self.group_norm = nn.GroupNorm(8, CHANNELS)
        self.layer_norm = nn.LayerNorm(CHANNELS)
        self.project = nn.Linear(CHANNELS, CHANNELS)

    @classmethod
    def declare(cls, preset: Any = None) -> StageSpec:
        return StageSpec(
            name="pyramid",
            inputs=(Tensor("windows", "float32", ("windows", 3, "side", "side")),),
            outputs=(Tensor("s2", COMPUTE, ("windows", CHANNELS, "side/4", "side/4")),),
            axes=(WINDOWS, SIDES),
            profiles=(Profile("window", {"windows": (1, 2, 5), "side": (64, SIDE, SIDE)}),),
        )

    @classmethod
    def examples(cls, model: Any, sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Array, ...]:
        return (torch.rand(sizes["windows"], 3, sizes["side"], sizes["side"], generator=generator),)

    def forward(self, windows: Array) -> Array:
        size = windows.shape[-1] // 4
        x = F.interpolate(windows, size=(SIDE, SIDE), mode="bicubic", align_corners=False)
        x = F.silu(self.group_norm(self.conv(x)))
        tokens = self.layer_norm(x.flatten(2).transpose(1, 2))
        heads = self.project(tokens).unflatten(-1, (4, CHANNELS // 4)).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(2)
        x = x + mixed.transpose(1, 2).unflatten(2, (SIDE // 8, SIDE // 8))
        return F.interpolate(x, size=(size, size), mode="nearest")


class Sampling(StageWrapper):
    """One layer of deformable attention over three levels."""

    lowering = "gather"

    def __init__(self, model: Any = None) -> None:
        super().__init__(model)
        torch.manual_seed(0)
        self.attention = DeformableAttention(16, 2)
        nn.init.normal_(self.attention.sampling_offsets.weight, std=0.5)
        self.attention.lowering = self.lowering  # type: ignore[assignment]

    @classmethod
    def declare(cls, preset: Any = None) -> StageSpec:
        return StageSpec(
            name="sampling",
            inputs=tuple(
                Tensor(f"s{i}", "float32", (1, 16, f"height/{k}", f"width/{k}"))
                for i, k in ((5, 32), (4, 16), (3, 8))
            ),
            outputs=(Tensor("s3_out", "float32", (1, 16, "height/8", "width/8")),),
            axes=(Axis("height", 64, 128, 256, 64), Axis("width", 64, 192, 256, 64)),
            profiles=(),
        )

    @classmethod
    def examples(cls, model: Any, sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Array, ...]:
        return tuple(
            torch.randn(1, 16, sizes["height"] // k, sizes["width"] // k, generator=generator)
            for k in (32, 16, 8)
        )

    def forward(self, s5: Array, s4: Array, s3: Array) -> Array:
        sizes = [(level.shape[2], level.shape[3]) for level in (s5, s4, s3)]
        memory = torch.cat([level.flatten(2).transpose(1, 2) for level in (s5, s4, s3)], dim=1)
        height, width = sizes[2]
        query = memory[:, -height * width :]
        # Reaches beyond the edges on all sides, where samples are zero.
        steps = torch.arange(height * width, dtype=torch.float32) / (height * width)
        points = torch.stack([1.4 * steps - 0.2, 1.2 - 1.4 * steps], dim=-1)
        out = self.attention(query, points, memory, sizes)
        return out.transpose(1, 2).unflatten(2, (height, width))


def stage_of(forward: Callable[..., Any], spec: StageSpec, **modules: nn.Module) -> StageWrapper:
    """A stage from a function of itself and its inputs."""

    class Stage(StageWrapper):
        def __init__(self) -> None:
            super().__init__(SimpleNamespace())  # type: ignore[arg-type]
            for name, module in modules.items():
                self.add_module(name, module)

        @classmethod
        def declare(cls, preset: Any = None) -> StageSpec:
            return spec

        @classmethod
        def examples(
            cls, model: Any, sizes: Mapping[str, int], generator: torch.Generator
        ) -> tuple[Array, ...]:
            return tuple(torch.randn(t.resolve(sizes), generator=generator) for t in spec.inputs)

        def forward(self, *inputs: Array) -> Any:
            return forward(self, *inputs)

    return Stage()


def rows_to_rows(name: str = "rows", width: int = 8, dtype: str = COMPUTE) -> StageSpec:
    """Declaration of a stage that maps (windows, width) to (windows, width)."""
    return StageSpec(
        name=name,
        inputs=(Tensor("x", dtype, ("windows", width)),),
        outputs=(Tensor("y", dtype, ("windows", width)),),
        axes=(WINDOWS,),
        profiles=(Profile("rows", {"windows": (1, 2, 5)}),),
    )

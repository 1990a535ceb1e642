"""Stage `stitch`: feature maps of the whole image from those of its windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor as Array
from torch.nn import functional as F

from odise_trt.chains.vectors import BLOCK
from odise_trt.pipeline import Step
from odise_trt.stage_spec import COMPUTE, Axis, Profile, StageSpec, Tensor
from reference.preset import Preset

from .axes import image_axes, image_profiles, most_windows, window_axes, window_profiles
from .chain_examples import grid_sizes, host_tensors, size_of
from .chain_stage import ChainStage
from .examples import fields
from .features import STRIDES

if TYPE_CHECKING:
    from reference.model import ODISE


_LARGEST = torch.finfo(torch.float32).max


class Stitch(ChainStage):
    """Puts the maps of windows together, with the mean where windows overlap.

    All levels are seen as blocks of 32 x 32 pixels. So the same two tensors serve them all: which blocks of
    which windows make up a block of the whole, and their shares. There are one, two or four (`taps`).

    Shapes:
        s2 .. s5_windows   (W, Cp, side/4, side/4) .. (W, Cp, side/32, side/32)
        tap_block          (taps, H/32, W/32)  numbers of blocks: row by row, one window after the other
        tap_weight         (taps, H/32, W/32)  1, 1/2 or 1/4. 0 for a block that is repeated to fill up.
        s2 .. s5           (1, Cp, H/4, W/4) .. (1, Cp, H/32, W/32)
        maps_not_finite    (4,)  for each level, how many numbers of its windows are NaN or infinite
    """

    fp16 = True
    islands = ("counts",)

    @classmethod
    def declare(cls, preset: Preset) -> StageSpec:
        """See `StageWrapper.declare`."""
        channels, most = preset.head.projection_dim, most_windows(preset)
        return StageSpec(
            name="stitch",
            inputs=(
                *(
                    Tensor(
                        f"{name}_windows", COMPUTE, ("windows", channels, f"side/{stride}", f"side/{stride}")
                    )
                    for name, stride in STRIDES.items()
                ),
                Tensor("tap_block", "int64", ("taps", f"height/{BLOCK}", f"width/{BLOCK}")),
                Tensor("tap_weight", "float32", ("taps", f"height/{BLOCK}", f"width/{BLOCK}")),
            ),
            outputs=(
                *(
                    Tensor(name, COMPUTE, (1, channels, f"height/{stride}", f"width/{stride}"))
                    for name, stride in STRIDES.items()
                ),
                Tensor("maps_not_finite", "float32", (len(STRIDES),)),
            ),
            axes=(*window_axes(preset, most), *image_axes(preset), Axis("taps", 1, 1, 4)),
            profiles=tuple(
                Profile(f"{windows.name}-{image.name}", {**image.ranges, **windows.ranges, "taps": (1, 1, 4)})
                for windows in window_profiles(preset, most)
                for image in image_profiles(preset)
            ),
        )

    @classmethod
    def step(cls, preset: Preset) -> Step:
        """See `StageWrapper.step`."""
        maps = {f"{name}_windows": f"features.{name}" for name in STRIDES}
        return Step("stitch", {**maps, "tap_block": "picture.tap_block", "tap_weight": "picture.tap_weight"})

    @classmethod
    def sizes(cls, preset: Preset) -> tuple[Mapping[str, int], ...]:
        """See `StageWrapper.sizes`."""
        step, window = preset.divisor, preset.window
        # Windows that overlap along both axes, along one, and not at all.
        images = {(window + step, window + step): 4, (step, 2 * step): 1, (window, window + step): 2}
        return tuple(
            {"height": height, "width": width, "taps": taps, **grid_sizes(size_of(preset, (height, width)))}
            for (height, width), taps in images.items()
        )

    @classmethod
    def examples(
        cls, model: ODISE, sizes: Mapping[str, int], generator: torch.Generator
    ) -> tuple[Array, ...]:
        """Random maps of the windows of an image, and the blocks of its grid."""
        preset = model.preset
        maps = [
            fields(sizes["windows"], preset.head.projection_dim, edge, edge, generator)
            for edge in (sizes["side"] // stride for stride in STRIDES.values())
        ]
        blocks = host_tensors(size_of(preset, (sizes["height"], sizes["width"])), "tap_block", "tap_weight")
        return (*(torch.relu(one) for one in maps), *blocks)

    def forward(
        self,
        s2_windows: Array,
        s3_windows: Array,
        s4_windows: Array,
        s5_windows: Array,
        tap_block: Array,
        tap_weight: Array,
    ) -> tuple[Array, ...]:
        """See the class."""
        levels = (s2_windows, s3_windows, s4_windows, s5_windows)
        maps = [
            _stitched(level, s5_windows.shape[2], BLOCK // stride, tap_block, tap_weight)
            for level, stride in zip(levels, STRIDES.values(), strict=True)
        ]
        return (*maps, torch.stack([not_finite(level) for level in levels]))


def not_finite(numbers: Array) -> Array:
    """Count NaN and infinity. Comparing with the largest number is no identity that a compiler removes."""
    return torch.logical_not(numbers.to(torch.float32).abs() <= _LARGEST).to(torch.float32).sum()


def _stitched(maps: Array, side: int, edge: int, tap_block: Array, tap_weight: Array) -> Array:
    """Stitch maps (W, C, side * edge, side * edge): `side` blocks of `edge` elements."""
    windows, channels = maps.shape[:2]
    blocks = maps.view(windows, channels, side, edge, side, edge).permute(0, 2, 4, 1, 3, 5)
    # The taps of a block follow each other, so that their sum is a product. As a sum over the first of four
    # axes it takes four times as long as all the rest of the stage on a GPU.
    chosen = F.embedding(tap_block.permute(1, 2, 0), blocks.flatten(3).flatten(0, 2))
    whole = torch.matmul(tap_weight.permute(1, 2, 0)[:, :, None].to(chosen.dtype), chosen)[:, :, 0]
    return F.pixel_shuffle(whole.permute(2, 0, 1)[None], edge)

"""Stage `cut`: the windows of a picture, and the picture as CLIP sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor as Array
from torch.nn import functional as F

from odise_trt.pipeline import Step
from odise_trt.stage_spec import Axis, Profile, StageSpec, Tensor
from reference.preset import Preset

from .axes import most_windows, window_axes, window_profiles
from .chain_examples import grid_sizes, host_tensors, size_of
from .chain_stage import ChainStage
from .examples import images

if TYPE_CHECKING:
    from reference.model import ODISE


class Cut(ChainStage):
    """Scales a picture to [0, 1], and gathers windows of it and a small copy for CLIP.

    Which pixels go where depends on the size of the picture only. So the host says it, with small vectors.

    Shapes:
        picture                        (h, w, 3)           RGB, uint8
        window_rows, window_columns    (W, side)           number `rows[y] + columns[x]` is pixel (y, x)
        row_inside, column_inside      (W, side)           1 in the picture, 0 in its padding
        clip_rows, clip_columns        (2, I)              which two rows and columns the copy is mixed of,
        clip_row_weight, ...           (2, I)              and their shares
        windows                        (W, 3, side, side)  RGB in [0, 1]
        clip_image                     (1, 3, I, I)        RGB in [0, 1]
    """

    @classmethod
    def declare(cls, preset: Preset) -> StageSpec:
        """See `StageWrapper.declare`."""
        clip, most = preset.clip.image_size, most_windows(preset)
        picture = dict.fromkeys(("picture_height", "picture_width"), (1, preset.short_side, preset.max_side))
        return StageSpec(
            name="cut",
            inputs=(
                Tensor("picture", "uint8", ("picture_height", "picture_width", 3)),
                Tensor("window_rows", "int64", ("windows", "side")),
                Tensor("window_columns", "int64", ("windows", "side")),
                Tensor("row_inside", "float32", ("windows", "side")),
                Tensor("column_inside", "float32", ("windows", "side")),
                Tensor("clip_rows", "int64", (2, clip)),
                Tensor("clip_row_weight", "float32", (2, clip)),
                Tensor("clip_columns", "int64", (2, clip)),
                Tensor("clip_column_weight", "float32", (2, clip)),
            ),
            outputs=(
                Tensor("windows", "float32", ("windows", 3, "side", "side")),
                Tensor("clip_image", "float32", (1, 3, clip, clip)),
            ),
            axes=(
                *(Axis(name, *sizes) for name, sizes in picture.items()),
                *window_axes(preset, most),
            ),
            profiles=tuple(
                Profile(profile.name, {**profile.ranges, **picture})
                for profile in window_profiles(preset, most)
            ),
        )

    @classmethod
    def step(cls, preset: Preset) -> Step:
        """See `StageWrapper.step`."""
        return Step("cut", {tensor.name: f"picture.{tensor.name}" for tensor in cls.declare(preset).inputs})

    @classmethod
    def sizes(cls, preset: Preset) -> tuple[Mapping[str, int], ...]:
        """See `StageWrapper.sizes`."""
        pictures = (preset.window + 9, preset.window * 2 + 1), (1, 7)
        return tuple(
            {"picture_height": height, "picture_width": width, **grid_sizes(size_of(preset, (height, width)))}
            for height, width in pictures
        )

    @classmethod
    def examples(
        cls, model: ODISE, sizes: Mapping[str, int], generator: torch.Generator
    ) -> tuple[Array, ...]:
        """A random picture, and the vectors of its size."""
        picture = sizes["picture_height"], sizes["picture_width"]
        pixels = (images(1, *picture, generator)[0].permute(1, 2, 0) * 255).to(torch.uint8)
        names = [tensor.name for tensor in cls.declare(model.preset).inputs[1:]]
        return (pixels, *host_tensors(size_of(model.preset, picture), *names))

    def forward(
        self,
        picture: Array,
        window_rows: Array,
        window_columns: Array,
        row_inside: Array,
        column_inside: Array,
        clip_rows: Array,
        clip_row_weight: Array,
        clip_columns: Array,
        clip_column_weight: Array,
    ) -> tuple[Array, Array]:
        """See the class."""
        pixels = picture.to(torch.float32) / 255
        index = window_rows[:, :, None] + window_columns[:, None, :]
        windows = F.embedding(index, pixels.flatten(0, 1))
        inside = row_inside[:, :, None] * column_inside[:, None, :]
        small = _mixed(pixels, 0, clip_rows, clip_row_weight[:, :, None, None])
        small = _mixed(small, 1, clip_columns, clip_column_weight[:, :, None])
        return (windows * inside[..., None]).permute(0, 3, 1, 2), small.permute(2, 0, 1)[None]


def _mixed(pixels: Array, axis: int, index: Array, weight: Array) -> Array:
    """Take two elements per output along one axis, and add them by their weights."""
    return pixels.index_select(axis, index[0]) * weight[0] + pixels.index_select(axis, index[1]) * weight[1]

"""Stage `resize`, optional: one pass of Pillow's bilinear resize, for pictures that lie on a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor as Array

from odise_trt.resampling import BLOCK, LONGEST, LOW, MOST_TAPS, PRECISION, resize_tensors
from odise_trt.stage_spec import Axis, Profile, StageSpec, Tensor
from reference.preset import Preset

from .chain_stage import ChainStage
from .examples import images

if TYPE_CHECKING:
    from reference.model import ODISE


class Resize(ChainStage):
    """Resizes pixels along their middle axis, to exactly what Pillow gives.

    A picture takes two passes: along its rows, as (height, width, 3), and along its columns, as
    (1, height, width * 3), see `odise_trt.resampling.passes`. Weights have 22 bits, in two parts of 11. So
    every product and sum is a whole number below 2**24, which float32 holds exactly, in any order.

    Shapes:
        pixels     (rows, source, values)  uint8
        index      (length, taps)          which pixels are added
        high, low  (length, taps)          their weights
        resized    (rows, length, values)  uint8
    """

    @classmethod
    def declare(cls, preset: Preset) -> StageSpec:
        """See `StageWrapper.declare`."""
        short, longest = preset.short_side, preset.max_side
        source, taps = (1, 2 * short, LONGEST), (1, 5, MOST_TAPS)
        across = {"rows": (1, BLOCK, BLOCK), "values": (3, 3, 3), "length": (1, short, longest)}
        down = {"rows": (1, 1, 1), "values": (3, 4 * short, 3 * LONGEST), "length": (1, BLOCK, BLOCK)}
        return StageSpec(
            name="resize",
            inputs=(
                Tensor("pixels", "uint8", ("rows", "source", "values")),
                Tensor("index", "int64", ("length", "taps")),
                Tensor("high", "float32", ("length", "taps")),
                Tensor("low", "float32", ("length", "taps")),
            ),
            outputs=(Tensor("resized", "uint8", ("rows", "length", "values")),),
            axes=(
                Axis("rows", 1, BLOCK, BLOCK),
                Axis("source", *source),
                Axis("values", 3, 3, 3 * LONGEST),
                Axis("length", 1, short, max(longest, BLOCK)),
                Axis("taps", *taps),
            ),
            profiles=tuple(
                Profile(name, {**ranges, "source": source, "taps": taps})
                for name, ranges in (("across", across), ("down", down))
            ),
        )

    @classmethod
    def sizes(cls, preset: Preset) -> tuple[Mapping[str, int], ...]:
        """See `StageWrapper.sizes`. The number of taps belongs to the two sizes."""
        passes = ((5, 40, 3, 17), (1, 17, 51, 40), (3, 9, 3, 9), (1, 1, 3, 5), (2, 150, 3, 10))
        return tuple(
            {
                "rows": rows,
                "source": source,
                "values": values,
                "length": length,
                "taps": resize_tensors(source, length)["index"].shape[1],
            }
            for rows, source, values, length in passes
        )

    @classmethod
    def examples(
        cls, model: ODISE, sizes: Mapping[str, int], generator: torch.Generator
    ) -> tuple[Array, ...]:
        """Pixels of a picture, and the vectors of these sizes."""
        shape = sizes["rows"], sizes["source"], sizes["values"]
        planes = images(1, shape[0], shape[1] * shape[2], generator)[0, 0]
        tensors = resize_tensors(sizes["source"], sizes["length"])
        pixels = (planes * 255).to(torch.uint8).reshape(shape)
        return (pixels, *(torch.from_numpy(tensors[name]) for name in ("index", "high", "low")))

    def forward(self, pixels: Array, index: Array, high: Array, low: Array) -> Array:
        """See the class."""
        taken = pixels.to(torch.float32).index_select(1, index.flatten())
        taken = taken.unflatten(1, index.shape)
        upper, lower = ((taken * part[None, :, :, None]).sum(2) for part in (high, low))
        step = 2.0**LOW
        # The last term is Pillow's rounding: half of 2**22, counted in steps of 2**11.
        whole = upper + torch.floor(lower / step) + 2.0 ** (PRECISION - 1 - LOW)
        return torch.floor(whole / step).to(torch.uint8)

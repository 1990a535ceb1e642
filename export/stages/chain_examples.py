"""Inputs for parity checks of the stages between the model's parts, like those of a real run."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from odise_trt.chains.vectors import PictureSize, picture_tensors
from odise_trt.windows import Grid
from reference.preset import Preset

from .examples import fields


def size_of(preset: Preset, picture: tuple[int, int], output: tuple[int, int] = (1, 1)) -> PictureSize:
    """Return the sizes of a picture of this height and width, with its padding."""
    height, width = (side + -side % preset.divisor for side in picture)
    return PictureSize(picture, (height, width), output, preset.window, preset.clip.image_size)


def grid_sizes(size: PictureSize) -> dict[str, int]:
    """Return the sizes of the axes `windows` and `side` of a picture."""
    grid = Grid.over(*size.padded, size.window)
    return {"windows": len(grid), "side": grid.side}


def host_tensors(size: PictureSize, *names: str) -> tuple[Tensor, ...]:
    """Return the named host tensors `picture.*` of a picture."""
    tensors = picture_tensors(size)
    return tuple(torch.from_numpy(tensors[f"picture.{name}"]) for name in names)


def resizing(
    preset: Preset, sizes: Mapping[str, int], columns: str, prefix: str = "column"
) -> tuple[Tensor, ...]:
    """Return the maps of rows and columns for masks of `sizes`, of a picture that has some padding."""
    picture = sizes["height"] - 5, sizes["width"] - 9
    size = size_of(preset, picture, (sizes["rows"], sizes[columns]))
    return host_tensors(size, "row_index", "row_weight", f"{prefix}_index", f"{prefix}_weight")


def class_probabilities(queries: int, categories: int, generator: torch.Generator) -> Tensor:
    """Make probabilities (queries, categories) of which some are large and most are small."""
    logits = 3 * torch.randn(queries, categories + 1, generator=generator)
    return torch.softmax(logits, dim=-1)[:, :-1]


def scores(queries: int, generator: torch.Generator) -> Tensor:
    """Make scores (queries,) in (0, 1), and -1 for a third of the queries, which do not compete."""
    score = torch.rand(queries, generator=generator) * 0.9 + 0.05
    return torch.where(torch.arange(queries) % 3 == 2, -1.0, score)


def codes(queries: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Make codes of pixels (height, width), uint8, of areas as masks have them."""
    larger = height + 8, width + 8
    winner = fields(1, queries, *larger, generator)[0].argmax(0)
    inside = fields(1, 1, *larger, generator)[0, 0] > -1
    return (2 * winner + inside).to(torch.uint8)[:height, :width]

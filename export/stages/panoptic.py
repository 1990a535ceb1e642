"""Stage `panoptic`: which mask wins each pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor as Array
from torch.nn import functional as F

from odise_trt.errors import ExportError
from odise_trt.pipeline import Step
from odise_trt.stage_spec import StageSpec, Tensor
from reference.preset import Preset

from .axes import image_axes, row_axes, row_profiles
from .chain_examples import resizing, scores
from .chain_stage import ChainStage
from .examples import mask_logits
from .largest import ROUNDING, first_largest, nearly_equal
from .resized_masks import axis_tensors, masks_tensor, resized

if TYPE_CHECKING:
    from reference.model import ODISE


#: Codes of pixels are two per query, and fit a byte.
CODES = 256


class Panoptic(ChainStage):
    """Lets masks compete for each pixel of some output rows, and counts what they win.

    The code of a pixel is `2 * winner + inside`: the query with the largest score times mask probability (the
    first of equals), and whether its own mask probability is at least one half. Counts of codes per row and
    per column are all that areas and boxes need, see `assign`.

    Shapes:
        pred_masks        (1, Q, H/4, W/4)      logits
        score             (Q,)                  -1 for queries that do not compete
        row_index, row_weight        (rows, 4)          which rows of the masks make up an output row
        column_index, column_weight  (output width, 4)  the same of columns
        code              (rows, output width)
        row_counts        (rows, 256)           pixels of each code in each row
        column_counts     (output width, 256)   pixels of each code in each column, in all rows so far
        whole             (Q,)                  pixels where the mask is at least one half, in all rows so far
    """

    scenes = 3

    def __init__(self, model: ODISE) -> None:
        super().__init__(model)
        most = CODES // 2
        if (queries := model.preset.head.num_queries) > most:
            raise ExportError(
                f"preset {model.preset.name} has {queries} queries, stage panoptic takes at most {most}",
                "a pixel's query and its bit share one byte: use fewer queries, or widen the code",
            )

    @classmethod
    def declare(cls, preset: Preset) -> StageSpec:
        """See `StageWrapper.declare`."""
        queries = preset.head.num_queries
        rows, columns = row_axes()
        return StageSpec(
            name="panoptic",
            inputs=(
                masks_tensor(preset),
                Tensor("score", "float32", (queries,)),
                *axis_tensors("row", rows.name),
                *axis_tensors("column", columns.name),
                Tensor("column_counts_so_far", "float32", (columns.name, CODES)),
                Tensor("whole_so_far", "int32", (queries,)),
            ),
            outputs=(
                Tensor("code", "uint8", (rows.name, columns.name)),
                Tensor("row_counts", "float32", (rows.name, CODES)),
                Tensor("column_counts", "float32", (columns.name, CODES)),
                Tensor("whole", "int32", (queries,)),
            ),
            axes=(*image_axes(preset), rows, columns),
            profiles=row_profiles(preset, columns),
        )

    @classmethod
    def step(cls, preset: Preset) -> Step:
        """See `StageWrapper.step`."""
        return Step(
            "panoptic",
            {
                "pred_masks": "mask_head.pred_masks",
                "score": "classify.score",
                "row_index": "picture.row_index",
                "row_weight": "picture.row_weight",
                "column_index": "picture.column_index",
                "column_weight": "picture.column_weight",
            },
            tasks=("panoptic",),
            repeat="rows",
            carried={"column_counts": "column_counts_so_far", "whole": "whole_so_far"},
        )

    @classmethod
    def sizes(cls, preset: Preset) -> tuple[Mapping[str, int], ...]:
        """See `StageWrapper.sizes`."""
        step = preset.divisor
        image = {"height": step, "width": 2 * step}
        return {**image, "rows": 1, "output_width": 1}, {**image, "rows": 30, "output_width": 50}

    @classmethod
    def examples(
        cls, model: ODISE, sizes: Mapping[str, int], generator: torch.Generator
    ) -> tuple[Array, ...]:
        """Smooth masks of which one is empty and one is full, of queries of which some do not compete."""
        queries, width = model.preset.head.num_queries, sizes["output_width"]
        return (
            mask_logits(queries, sizes["height"] // 4, sizes["width"] // 4, generator),
            scores(queries, generator),
            *resizing(model.preset, sizes, "output_width"),
            torch.randint(9, (width, CODES), generator=generator).to(torch.float32),
            torch.randint(9, (queries,), generator=generator),
        )

    def undecided(self, *inputs: Array) -> dict[str, Array]:
        """See `StageWrapper.undecided`."""
        pred_masks, score, *axes = inputs
        logits = resized(pred_masks[0], *axes[:4])
        near_edge = logits.abs() <= ROUNDING
        values = _products(logits, score)
        edge_of_winner = near_edge.gather(0, first_largest(values, values.amax(0), 0)[None])[0]
        return {"code": nearly_equal(values, 0) | edge_of_winner, "whole": near_edge.any(2).any(1)}

    def forward(
        self,
        pred_masks: Array,
        score: Array,
        row_index: Array,
        row_weight: Array,
        column_index: Array,
        column_weight: Array,
        column_counts_so_far: Array,
        whole_so_far: Array,
    ) -> tuple[Array, ...]:
        """See the class."""
        logits = resized(pred_masks[0], row_index, row_weight, column_index, column_weight)
        whole = (logits >= 0).to(torch.float32).sum((1, 2)).to(torch.int32)
        value = _products(logits, score)
        best = value.amax(0)
        winner = first_largest(value, best, 0)
        half = 0.5 * F.embedding(winner, score[:, None])[..., 0]
        code = 2 * winner.to(torch.float32) + (best >= half).to(torch.float32)
        # One-hot vectors of the two hexadecimal digits: their product counts all codes, without a scatter.
        high = torch.floor(code / 16)
        digits = torch.arange(16, dtype=torch.float32)
        highs = (high[..., None] == digits).to(torch.float32)
        lows = ((code - 16 * high)[..., None] == digits).to(torch.float32)
        row_counts = torch.matmul(highs.transpose(1, 2), lows).flatten(1)
        column_counts = torch.matmul(highs.permute(1, 2, 0), lows.transpose(0, 1)).flatten(1)
        return code.to(torch.uint8), row_counts, column_counts_so_far + column_counts, whole_so_far + whole


def _products(logits: Array, score: Array) -> Array:
    """Return what queries compete with. One that does not is at -1 everywhere, below every product."""
    return torch.sigmoid(logits) * score.clamp(min=0)[:, None, None] + score.clamp(max=0)[:, None, None]

"""Stage `instances`: the masks of instances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor as Array

from odise_trt.pipeline import Step
from odise_trt.stage_spec import StageSpec, Tensor
from reference.preset import Preset

from .axes import image_axes, row_axes, row_profiles
from .chain_examples import resizing
from .chain_stage import ChainStage
from .examples import mask_logits
from .largest import ROUNDING
from .resized_masks import axis_tensors, masks_tensor, resized

if TYPE_CHECKING:
    from reference.model import ODISE


_BITS = (128.0, 64.0, 32.0, 16.0, 8.0, 4.0, 2.0, 1.0)


class Instances(ChainStage):
    """Draws the masks of instances into some output rows, eight pixels per byte, and measures them.

    The width of the output is filled up to a multiple of 8, with columns without weight. Their logit is 0,
    which is not in a mask.

    Shapes:
        pred_masks              (1, Q, H/4, W/4)        logits
        instance_query          (N,)                    from `top_instances`
        row_index, row_weight   (rows, 4)               which rows of the masks make up an output row
        padded_column_index, padded_column_weight       (padded width, 4), the same of columns
        instance_bits           (rows, N, padded width / 8)  as `numpy.packbits` gives them
        instance_row_counts     (rows, N)               pixels of each mask in each row
        instance_column_counts  (padded width, N)       pixels of each mask in each column, in all rows so far
        instance_total          (N,)                    sum of its probability in a mask, in all rows so far
    """

    scenes = 3

    @classmethod
    def declare(cls, preset: Preset) -> StageSpec:
        """See `StageWrapper.declare`."""
        count = preset.topk_per_image
        rows, columns = row_axes("padded_width", multiple=8)
        return StageSpec(
            name="instances",
            inputs=(
                masks_tensor(preset),
                Tensor("instance_query", "int64", (count,)),
                *axis_tensors("row", rows.name),
                *axis_tensors("padded_column", columns.name),
                Tensor("instance_column_counts_so_far", "float32", (columns.name, count)),
                Tensor("instance_total_so_far", "float32", (count,)),
            ),
            outputs=(
                Tensor("instance_bits", "uint8", (rows.name, count, f"{columns.name}/8")),
                Tensor("instance_row_counts", "float32", (rows.name, count)),
                Tensor("instance_column_counts", "float32", (columns.name, count)),
                Tensor("instance_total", "float32", (count,)),
            ),
            axes=(*image_axes(preset), rows, columns),
            profiles=row_profiles(preset, columns),
        )

    @classmethod
    def step(cls, preset: Preset) -> Step:
        """See `StageWrapper.step`."""
        return Step(
            "instances",
            {
                "pred_masks": "mask_head.pred_masks",
                "instance_query": "top_instances.instance_query",
                "row_index": "picture.row_index",
                "row_weight": "picture.row_weight",
                "padded_column_index": "picture.padded_column_index",
                "padded_column_weight": "picture.padded_column_weight",
            },
            tasks=("instance",),
            repeat="rows",
            carried={
                "instance_column_counts": "instance_column_counts_so_far",
                "instance_total": "instance_total_so_far",
            },
        )

    @classmethod
    def sizes(cls, preset: Preset) -> tuple[Mapping[str, int], ...]:
        """See `StageWrapper.sizes`."""
        step = preset.divisor
        image = {"height": step, "width": 2 * step}
        return {**image, "rows": 1, "padded_width": 8}, {**image, "rows": 30, "padded_width": 56}

    @classmethod
    def examples(
        cls, model: ODISE, sizes: Mapping[str, int], generator: torch.Generator
    ) -> tuple[Array, ...]:
        """Smooth masks of which one is empty and one is full, some of them chosen twice."""
        queries, count = model.preset.head.num_queries, model.preset.topk_per_image
        return (
            mask_logits(queries, sizes["height"] // 4, sizes["width"] // 4, generator),
            torch.arange(count) % queries,
            *resizing(model.preset, sizes, "padded_width", "padded_column"),
            torch.randint(9, (sizes["padded_width"], count), generator=generator).to(torch.float32),
            torch.rand(count, generator=generator),
        )

    def undecided(self, *inputs: Array) -> dict[str, Array]:
        """See `StageWrapper.undecided`."""
        pred_masks, instance_query, *axes = inputs
        logits = resized(pred_masks[0].index_select(0, instance_query), *axes[:4])
        # Beyond the output all logits are exactly 0, in every engine.
        beyond = axes[3].sum(1) == 0
        near_edge = (logits.abs() <= ROUNDING) & ~beyond
        return {"instance_bits": near_edge.unflatten(2, (-1, 8)).any(3).transpose(0, 1)}

    def forward(
        self,
        pred_masks: Array,
        instance_query: Array,
        row_index: Array,
        row_weight: Array,
        padded_column_index: Array,
        padded_column_weight: Array,
        instance_column_counts_so_far: Array,
        instance_total_so_far: Array,
    ) -> tuple[Array, ...]:
        """See the class."""
        masks = pred_masks[0].index_select(0, instance_query)
        logits = resized(masks, row_index, row_weight, padded_column_index, padded_column_weight)
        inside = (logits > 0).to(torch.float32)
        packed = torch.matmul(inside.unflatten(2, (-1, 8)), torch.tensor(_BITS)[:, None])[..., 0]
        total = (torch.sigmoid(logits) * inside).sum((1, 2))
        return (
            packed.transpose(0, 1).to(torch.uint8),
            inside.sum(2).T,
            instance_column_counts_so_far + inside.sum(1).T,
            instance_total_so_far + total,
        )

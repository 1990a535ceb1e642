"""Stage `semantic`: the category of each pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor as Array

from odise_trt.pipeline import Step
from odise_trt.stage_spec import Axis, Profile, StageSpec, Tensor
from reference.preset import Preset

from .axes import image_axes
from .chain_examples import class_probabilities, resizing
from .chain_stage import ChainStage
from .examples import mask_logits
from .largest import first_largest, nearly_equal
from .resized_masks import axis_tensors, masks_tensor, resized

if TYPE_CHECKING:
    from reference.model import ODISE


#: Name of a profile -> the most categories, rows and columns at once. Their product is what takes memory.
_BLOCKS = {
    "few": (256, 64, 2560),
    "many": (2048, 8, 2560),
    "photo": (256, 8, 32768),
    "most": (20000, 1, 32768),
}


class Semantic(ChainStage):
    """Gives pixels of some output rows the category with the largest sum of class times mask probability.

    Shapes:
        pred_masks     (1, Q, H/4, W/4)      logits
        probabilities  (Q, K)                from `classify`
        row_index, row_weight        (rows, 4)          which rows of the masks make up an output row
        column_index, column_weight  (output width, 4)  the same of columns
        semantic       (rows, output width)  indices of categories, the first of equals
    """

    @classmethod
    def declare(cls, preset: Preset) -> StageSpec:
        """See `StageWrapper.declare`."""
        step, short, longest = preset.divisor, preset.short_side, preset.max_side
        sides = dict.fromkeys(("height", "width"), (step, short, longest))
        most = [max(sizes[place] for sizes in _BLOCKS.values()) for place in range(3)]
        rows, columns = Axis("rows", 1, most[1], most[1]), Axis("output_width", 1, 1024, most[2])
        return StageSpec(
            name="semantic",
            inputs=(
                masks_tensor(preset),
                Tensor("probabilities", "float32", (preset.head.num_queries, "categories")),
                *axis_tensors("row", rows.name),
                *axis_tensors("column", columns.name),
            ),
            outputs=(Tensor("semantic", "int32", (rows.name, columns.name)),),
            axes=(*image_axes(preset), Axis("categories", 1, 133, most[0]), rows, columns),
            profiles=tuple(
                Profile(
                    name,
                    {
                        **sides,
                        "categories": (1, min(categories, 133 if categories <= 256 else 1336), categories),
                        "rows": (1, block, block),
                        "output_width": (1, 1024 if width <= 2560 else 4096, width),
                    },
                )
                for name, (categories, block, width) in _BLOCKS.items()
            ),
        )

    @classmethod
    def step(cls, preset: Preset) -> Step:
        """See `StageWrapper.step`."""
        return Step(
            "semantic",
            {
                "pred_masks": "mask_head.pred_masks",
                "probabilities": "classify.probabilities",
                "row_index": "picture.row_index",
                "row_weight": "picture.row_weight",
                "column_index": "picture.column_index",
                "column_weight": "picture.column_weight",
            },
            tasks=("semantic",),
            repeat="rows",
        )

    @classmethod
    def sizes(cls, preset: Preset) -> tuple[Mapping[str, int], ...]:
        """See `StageWrapper.sizes`."""
        step = preset.divisor
        image = {"height": step, "width": 2 * step}
        return (
            {**image, "categories": 1, "rows": 1, "output_width": 1},
            {**image, "categories": 13, "rows": 30, "output_width": 50},
        )

    @classmethod
    def examples(
        cls, model: ODISE, sizes: Mapping[str, int], generator: torch.Generator
    ) -> tuple[Array, ...]:
        """Smooth masks of which one is empty and one is full."""
        queries = model.preset.head.num_queries
        return (
            mask_logits(queries, sizes["height"] // 4, sizes["width"] // 4, generator),
            class_probabilities(queries, sizes["categories"], generator),
            *resizing(model.preset, sizes, "output_width"),
        )

    def undecided(self, *inputs: Array) -> dict[str, Array]:
        """See `StageWrapper.undecided`."""
        return {"semantic": nearly_equal(self._values(*inputs), 0)}

    def forward(
        self,
        pred_masks: Array,
        probabilities: Array,
        row_index: Array,
        row_weight: Array,
        column_index: Array,
        column_weight: Array,
    ) -> Array:
        """See the class."""
        values = self._values(pred_masks, probabilities, row_index, row_weight, column_index, column_weight)
        return first_largest(values, values.amax(0), 0).to(torch.int32)

    def _values(self, pred_masks: Array, probabilities: Array, *axes: Array) -> Array:
        """Return the sum of each category at each pixel, (K, rows, columns)."""
        masks = torch.sigmoid(resized(pred_masks[0], *axes))
        return torch.matmul(probabilities.T, masks.flatten(1)).unflatten(1, masks.shape[1:])

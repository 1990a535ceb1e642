"""Stage `paint`: the id of the segment of each pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor as Array
from torch.nn import functional as F

from odise_trt.pipeline import Step
from odise_trt.stage_spec import StageSpec, Tensor
from reference.preset import Preset

from .axes import row_axes, whole_range
from .chain_examples import codes
from .chain_stage import ChainStage
from .panoptic import CODES

if TYPE_CHECKING:
    from reference.model import ODISE


class Paint(ChainStage):
    """Looks up the segment of each pixel.

    Shapes:
        code        (rows, output width)  from `panoptic`
        segment_of  (256,)                from `assign`
        panoptic    (rows, output width)  ids of segments, 0: none
    """

    @classmethod
    def declare(cls, preset: Preset) -> StageSpec:
        """See `StageWrapper.declare`."""
        rows, columns = row_axes()
        shape = (rows.name, columns.name)
        return StageSpec(
            name="paint",
            inputs=(Tensor("code", "uint8", shape), Tensor("segment_of", "int32", (CODES,))),
            outputs=(Tensor("panoptic", "int32", shape),),
            axes=(rows, columns),
            profiles=whole_range(rows, columns),
        )

    @classmethod
    def step(cls, preset: Preset) -> Step:
        """See `StageWrapper.step`."""
        return Step(
            "paint",
            {"code": "panoptic.code", "segment_of": "assign.segment_of"},
            tasks=("panoptic",),
            repeat="rows",
        )

    @classmethod
    def sizes(cls, preset: Preset) -> tuple[Mapping[str, int], ...]:
        """See `StageWrapper.sizes`."""
        return {"rows": 1, "output_width": 1}, {"rows": 30, "output_width": 50}

    @classmethod
    def examples(
        cls, model: ODISE, sizes: Mapping[str, int], generator: torch.Generator
    ) -> tuple[Array, ...]:
        """Codes of areas, and some segments."""
        codes_of = codes(model.preset.head.num_queries, sizes["rows"], sizes["output_width"], generator)
        return codes_of, torch.randint(9, (CODES,), generator=generator)

    def forward(self, code: Array, segment_of: Array) -> Array:
        """See the class."""
        return F.embedding(code.to(torch.int32), segment_of[:, None])[..., 0]

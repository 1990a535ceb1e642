"""Stage `assign`: which masks become segments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor as Array
from torch.nn import functional as F

from odise_trt.pipeline import Step
from odise_trt.stage_spec import Axis, StageSpec, Tensor
from reference.preset import Preset

from .axes import output_axes, whole_range
from .chain_examples import codes, scores
from .chain_stage import ChainStage
from .panoptic import CODES

if TYPE_CHECKING:
    from reference.model import ODISE


#: Columns of the table of segments, one row for each query.
SEGMENT_COLUMNS = ("id", "category", "area", "top", "bottom", "left", "right")
_BEYOND = float(2**24)


class Assign(ChainStage):
    """Decides which masks become segments, and numbers these, as `odise_trt.postprocess.panoptic` does.

    The official rules go through the queries one by one. But whether a query is accepted depends on no other,
    so a few comparisons of all pairs give the same numbers.

    Shapes:
        category, score    (Q,)                  from `classify`
        isthing            (K,)                  1 for things
        whole              (Q,)                  from `panoptic`
        row_counts         (output height, 256)
        column_counts      (output width, 256)
        overlap_threshold  (1,)                  least share of its mask that a query must win
        segment_of         (256,)                code of a pixel -> id of its segment, 0: none
        segments           (Q, 7)                id, category, area, first and last row, first and last column
                                                 of what each query keeps; all 0 without a segment
    """

    @classmethod
    def declare(cls, preset: Preset) -> StageSpec:
        """See `StageWrapper.declare`."""
        queries = preset.head.num_queries
        axes = (Axis("categories", 1, 133, 20000), *output_axes())
        return StageSpec(
            name="assign",
            inputs=(
                Tensor("category", "int64", (queries,)),
                Tensor("score", "float32", (queries,)),
                Tensor("isthing", "float32", ("categories",)),
                Tensor("whole", "int32", (queries,)),
                Tensor("row_counts", "float32", ("output_height", CODES)),
                Tensor("column_counts", "float32", ("output_width", CODES)),
                Tensor("overlap_threshold", "float32", (1,)),
            ),
            outputs=(
                Tensor("segment_of", "int32", (CODES,)),
                Tensor("segments", "int32", (queries, len(SEGMENT_COLUMNS))),
            ),
            axes=axes,
            profiles=whole_range(*axes),
        )

    @classmethod
    def step(cls, preset: Preset) -> Step:
        """See `StageWrapper.step`."""
        return Step(
            "assign",
            {
                "category": "classify.category",
                "score": "classify.score",
                "isthing": "vocabulary.isthing",
                "whole": "panoptic.whole",
                "row_counts": "panoptic.row_counts",
                "column_counts": "panoptic.column_counts",
                "overlap_threshold": "request.overlap_threshold",
            },
            tasks=("panoptic",),
        )

    @classmethod
    def sizes(cls, preset: Preset) -> tuple[Mapping[str, int], ...]:
        """See `StageWrapper.sizes`."""
        return (
            {"categories": 1, "output_height": 1, "output_width": 1},
            {"categories": 5, "output_height": 30, "output_width": 50},
        )

    @classmethod
    def examples(
        cls, model: ODISE, sizes: Mapping[str, int], generator: torch.Generator
    ) -> tuple[Array, ...]:
        """Counts of areas, of queries of which some share a category."""
        queries, categories = model.preset.head.num_queries, sizes["categories"]
        pixels = codes(queries, sizes["output_height"], sizes["output_width"], generator)
        hits = F.one_hot(pixels.to(torch.int64), CODES)
        won = hits.sum((0, 1))[: 2 * queries].reshape(queries, 2).sum(1)
        return (
            torch.randint(categories, (queries,), generator=generator),
            scores(queries, generator),
            (torch.arange(categories) % 2).to(torch.float32),
            (won * (1 + torch.rand(queries, generator=generator))).to(torch.int32),
            hits.sum(1).to(torch.float32),
            hits.sum(0).to(torch.float32),
            torch.tensor([0.7]),
        )

    def forward(
        self,
        category: Array,
        score: Array,
        isthing: Array,
        whole: Array,
        row_counts: Array,
        column_counts: Array,
        overlap_threshold: Array,
    ) -> tuple[Array, Array]:
        """See the class."""
        queries = score.shape[0]
        # Each count is exact in float32, but not the sum of a very large picture.
        pairs = row_counts.to(torch.int32).sum(0, dtype=torch.int32)[: 2 * queries].reshape(queries, 2)
        won, kept = pairs[:, 0] + pairs[:, 1], pairs[:, 1]
        # The margin accepts shares equal to the threshold, however the product of a float32 is rounded.
        enough = won.to(torch.float32) >= overlap_threshold * (1 - 2**-22) * whole.to(torch.float32)
        accepted = ((score > 0) & (kept > 0) & enough).to(torch.float32)

        thing = isthing.index_select(0, category)
        place = torch.arange(queries)
        same = (category[:, None] == category[None, :]).to(torch.float32)
        before = (place[None, :] < place[:, None]).to(torch.float32)
        # The first stuff of a category leads, the others join it. Every thing leads.
        joins = torch.matmul(same * before * (1 - thing)[:, None], accepted[:, None])[:, 0]
        leads = accepted * (joins == 0).to(torch.float32)
        up_to = (place[None, :] <= place[:, None]).to(torch.float32)
        number = leads * torch.matmul(up_to, leads[:, None])[:, 0]
        joined = (same * number[None, :]).amax(1)
        identity = torch.where(leads > 0, number, accepted * joined).to(torch.int32)

        segment_of = torch.stack([torch.zeros_like(identity), identity], dim=1).flatten()
        top, bottom = _ends(row_counts, queries)
        left, right = _ends(column_counts, queries)
        table = [identity, category.to(torch.int32), kept, top, bottom, left, right]
        padding = torch.zeros(CODES - 2 * queries, dtype=torch.int32)
        return torch.cat([segment_of, padding]), torch.stack(table, dim=1) * accepted.to(torch.int32)[:, None]


def _ends(counts: Array, queries: int) -> tuple[Array, Array]:
    """Return the first and the last place, int32 (Q,), where each query keeps a pixel."""
    kept = counts[:, 1 : 2 * queries : 2] > 0
    places = torch.arange(counts.shape[0], dtype=torch.float32)[:, None]
    first, last = torch.where(kept, places, _BEYOND).amin(0), torch.where(kept, places, -1.0).amax(0)
    return first.to(torch.int32), last.to(torch.int32)

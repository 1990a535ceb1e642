"""Stage `top_instances`: the best pairs of mask and category."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor as Array

from odise_trt.pipeline import Step
from odise_trt.stage_spec import Axis, StageSpec, Tensor
from reference.preset import Preset

from .axes import whole_range
from .chain_examples import class_probabilities
from .chain_stage import ChainStage

if TYPE_CHECKING:
    from reference.model import ODISE


class TopInstances(ChainStage):
    """Selects the N best pairs of query and category.

    The best N of each query come first, then the best N of those. That is exact, and no engine has to sort
    all pairs: with 20,000 categories there are two million.

    Shapes:
        probabilities      (Q, K)  from `classify`
        instance_score     (N,)    best first. -1: there are fewer pairs.
        instance_query     (N,)
        instance_category  (N,)
    """

    def __init__(self, model: ODISE) -> None:
        super().__init__(model)
        self.topk = model.preset.topk_per_image

    @classmethod
    def declare(cls, preset: Preset) -> StageSpec:
        """See `StageWrapper.declare`."""
        count = preset.topk_per_image
        categories = Axis("categories", 1, 133, 20000)
        return StageSpec(
            name="top_instances",
            inputs=(Tensor("probabilities", "float32", (preset.head.num_queries, "categories")),),
            outputs=(
                Tensor("instance_score", "float32", (count,)),
                Tensor("instance_query", "int64", (count,)),
                Tensor("instance_category", "int64", (count,)),
            ),
            axes=(categories,),
            profiles=whole_range(categories),
        )

    @classmethod
    def step(cls, preset: Preset) -> Step:
        """See `StageWrapper.step`."""
        return Step("top_instances", {"probabilities": "classify.probabilities"}, tasks=("instance",))

    @classmethod
    def sizes(cls, preset: Preset) -> tuple[Mapping[str, int], ...]:
        """See `StageWrapper.sizes`."""
        return {"categories": 1}, {"categories": 7}, {"categories": preset.topk_per_image + 20}

    @classmethod
    def examples(
        cls, model: ODISE, sizes: Mapping[str, int], generator: torch.Generator
    ) -> tuple[Array, ...]:
        """Class probabilities."""
        return (class_probabilities(model.preset.head.num_queries, sizes["categories"], generator),)

    def forward(self, probabilities: Array) -> tuple[Array, Array, Array]:
        """See the class."""
        count = self.topk
        # With as many more as are selected, a vocabulary of one word has enough.
        more = probabilities.new_full((probabilities.shape[0], count), -1.0)
        filled = torch.cat([probabilities, more], dim=1)
        of_query, category = filled.topk(count, dim=1)
        score, place = of_query.flatten().topk(count)
        exists = (score >= 0).to(torch.int64)
        # Half a place away from whole numbers, so that no engine's division rounds to the one below.
        query = torch.floor((place.to(torch.float32) + 0.5) / count).to(torch.int64)
        return score, query * exists, category.flatten().index_select(0, place) * exists

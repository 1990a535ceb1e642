"""Stage `classify`: the class probabilities of masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor as Array
from torch.nn import functional as F

from odise_trt.pipeline import Step
from odise_trt.stage_spec import Axis, Profile, StageSpec, Tensor
from reference.preset import Preset

from .axes import image_axes
from .chain_stage import ChainStage
from .examples import mask_logits
from .largest import first_largest, nearly_equal
from .resized_masks import masks_tensor
from .stitch import not_finite

if TYPE_CHECKING:
    from reference.model import ODISE


#: Of the texts, of the categories, and of the names of one category: (smallest, typical, largest).
VOCABULARIES = {
    "usual": ((1, 270, 4096), (1, 133, 2048), (1, 4, 32)),
    "large": ((1, 3000, 65536), (1, 1336, 20000), (1, 6, 64)),
    "names": ((1, 2048, 16384), (1, 133, 2048), (1, 64, 256)),
}


class Classify(ChainStage):
    """Names masks: cosines with every name, fused class probabilities, and which masks compete for pixels.

    As `odise_trt.classify` computes it (paper sec. 3.5). The tables of the vocabulary are inputs, so another
    vocabulary needs no other engine.

    Shapes:
        mask_embed              (1, Q, D)
        clip_mask_embed         (1, Q, E)
        pred_masks              (1, Q, H/4, W/4)  only checked for numbers that are not finite
        pred_logits             (1, Q, 2)         object or nothing; caption models only
        text_embed              (K', D)           rows of length one
        clip_text_embed         (K', E)           rows of length one
        synonyms                (K, S)            rows of the names of a category, filled up by repeating one
        clip_weight             (K,)              CLIP's share
        object_mask_threshold   (1,)
        probabilities           (Q, K)            what is missing to 1 is "nothing"
        score                   (Q,)              of the best category. -1: the mask does not compete, because
                                                  "nothing" is likelier, or the score not above the threshold.
        category                (Q,)              the best one, the first of equals
        numbers_not_finite      (4,)              how many there are in pred_masks, mask_embed,
                                                  clip_mask_embed and probabilities
    """

    scale: Array
    clip_scale: Array
    null_embed: Array

    def __init__(self, model: ODISE) -> None:
        super().__init__(model)
        with torch.no_grad():
            self.register_buffer("scale", model.mask_head.predictor.post_mask_embed.scale())
            self.register_buffer("clip_scale", model.clip.scale())
            if model.preset.kind == "label":
                null = F.normalize(model.category_head.null().reshape(1, -1), dim=-1)
                self.register_buffer("null_embed", null)

    @classmethod
    def declare(cls, preset: Preset) -> StageSpec:
        """See `StageWrapper.declare`."""
        queries, width, clip_width = preset.head.num_queries, preset.head.mask_dim, preset.clip.embed_dim
        names = ("texts", "categories", "synonyms")
        step, short, longest = preset.divisor, preset.short_side, preset.max_side
        sides = dict.fromkeys(("height", "width"), (step, short, longest))
        largest = [max(sizes[place][2] for sizes in VOCABULARIES.values()) for place in range(3)]
        usual = VOCABULARIES["usual"]
        logits = (Tensor("pred_logits", "float32", (1, queries, 2)),) if preset.kind == "caption" else ()
        return StageSpec(
            name="classify",
            inputs=(
                Tensor("mask_embed", "float32", (1, queries, width)),
                Tensor("clip_mask_embed", "float32", (1, queries, clip_width)),
                masks_tensor(preset),
                Tensor("text_embed", "float32", ("texts", width)),
                Tensor("clip_text_embed", "float32", ("texts", clip_width)),
                Tensor("synonyms", "int64", ("categories", "synonyms")),
                Tensor("clip_weight", "float32", ("categories",)),
                Tensor("object_mask_threshold", "float32", (1,)),
                *logits,
            ),
            outputs=(
                Tensor("probabilities", "float32", (queries, "categories")),
                Tensor("score", "float32", (queries,)),
                Tensor("category", "int64", (queries,)),
                Tensor("numbers_not_finite", "float32", (4,)),
            ),
            axes=(
                *image_axes(preset),
                *(Axis(name, 1, usual[place][1], largest[place]) for place, name in enumerate(names)),
            ),
            profiles=tuple(
                Profile(profile, {**sides, **dict(zip(names, sizes, strict=True))})
                for profile, sizes in VOCABULARIES.items()
            ),
        )

    @classmethod
    def step(cls, preset: Preset) -> Step:
        """See `StageWrapper.step`."""
        logits = {"pred_logits": "mask_head.pred_logits"} if preset.kind == "caption" else {}
        return Step(
            "classify",
            {
                "mask_embed": "mask_head.mask_embed",
                "clip_mask_embed": "clip_pool.clip_mask_embed",
                "pred_masks": "mask_head.pred_masks",
                "text_embed": "vocabulary.text_embed",
                "clip_text_embed": "vocabulary.clip_text_embed",
                "synonyms": "vocabulary.synonyms",
                "clip_weight": "vocabulary.clip_weight",
                "object_mask_threshold": "request.object_mask_threshold",
                **logits,
            },
        )

    @classmethod
    def sizes(cls, preset: Preset) -> tuple[Mapping[str, int], ...]:
        """See `StageWrapper.sizes`."""
        step = preset.divisor
        image = {"height": step, "width": 2 * step}
        return (
            {**image, "texts": 1, "categories": 1, "synonyms": 1},
            {**image, "texts": 40, "categories": 13, "synonyms": 4},
        )

    @classmethod
    def examples(
        cls, model: ODISE, sizes: Mapping[str, int], generator: torch.Generator
    ) -> tuple[Array, ...]:
        """Masks that look like some of the names, in a vocabulary of categories with several names."""
        preset, texts = model.preset, sizes["texts"]
        queries = preset.head.num_queries

        def normal(*shape: int) -> Array:
            return torch.randn(*shape, generator=generator)

        embeds, tables = [], []
        for width in (preset.head.mask_dim, preset.clip.embed_dim):
            table = F.normalize(normal(texts, width), dim=-1)
            meant = torch.randint(texts, (queries,), generator=generator)
            embeds.append(7 * (table[meant] + 0.1 * normal(queries, width))[None])
            tables.append(table)
        # Adjacent names, the last one repeated, as `vocabulary_tensors` makes them.
        starts = torch.arange(sizes["categories"]) * texts // sizes["categories"]
        ends = torch.cat([starts[1:], torch.tensor([texts])])
        names = torch.minimum(starts[:, None] + torch.arange(sizes["synonyms"]), ends[:, None] - 1)
        weight = torch.where(torch.arange(sizes["categories"]) % 2 == 0, preset.alpha, preset.beta)
        masks = mask_logits(queries, sizes["height"] // 4, sizes["width"] // 4, generator)
        logits = (normal(1, queries, 2),) if preset.kind == "caption" else ()
        return (*embeds, masks, *tables, names, weight, torch.tensor([0.1]), *logits)

    def undecided(self, *inputs: Array) -> dict[str, Array]:
        """See `StageWrapper.undecided`."""
        return {"category": nearly_equal(self(*inputs)[0], 1)}

    def forward(
        self,
        mask_embed: Array,
        clip_mask_embed: Array,
        pred_masks: Array,
        text_embed: Array,
        clip_text_embed: Array,
        synonyms: Array,
        clip_weight: Array,
        object_mask_threshold: Array,
        pred_logits: Array | None = None,
    ) -> tuple[Array, ...]:
        """See the class."""
        unit, clip_unit = F.normalize(mask_embed[0], dim=-1), F.normalize(clip_mask_embed[0], dim=-1)
        category = self.scale * _best_name(unit, text_embed, synonyms)
        clip = self.clip_scale * _best_name(clip_unit, clip_text_embed, synonyms)
        if pred_logits is None:
            null = self.scale * torch.matmul(unit, self.null_embed.T)
            nothing = F.softmax(torch.cat([category, null], dim=1), dim=-1)[:, -1:]
        else:
            nothing = F.softmax(pred_logits[0], dim=-1)[:, 1:]
        category, clip = F.log_softmax(category, dim=-1), F.log_softmax(clip, dim=-1)
        fused = (1 - clip_weight) * category + clip_weight * clip
        # The official model adds 1e-8 to K + 1 probabilities, and takes the softmax of their logarithms.
        # So it divides them by their sum, which is known. TensorRT for RTX 1.7 does not build every size of
        # vocabulary if a softmax, a sum and a maximum follow each other along one axis.
        total = 1 + 1e-8 * (torch.ones_like(clip_weight).sum() + 1)
        probabilities = (F.softmax(fused, dim=-1) * (1 - nothing) + 1e-8) / total
        nothing = (nothing + 1e-8) / total
        by_category = probabilities.T
        best = by_category.amax(0)
        competes = (best >= nothing[:, 0]) & (best > object_mask_threshold)
        numbers = (pred_masks, mask_embed, clip_mask_embed, probabilities)
        return (
            probabilities,
            torch.where(competes, best, -1.0),
            first_largest(by_category, best, 0),
            torch.stack([not_finite(each) for each in numbers]),
        )


def _best_name(unit: Array, text: Array, synonyms: Array) -> Array:
    """Cosines of masks (Q, D) with the best name of each category, (Q, K)."""
    cosine = torch.matmul(text, unit.T)
    return F.embedding(synonyms, cosine).amax(1).T

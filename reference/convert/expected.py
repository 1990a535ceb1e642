"""What a converted file has: every tensor by its official name, with the file that it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

import torch
from torch import Tensor

from reference.checkpoint import derived_constants, slots
from reference.model import ODISE
from reference.preset import Preset
from reference.weights.official_names import CLIP, COND_STAGE, UNET, VAE

#: "odise": the trained part. "computed": in no file.
Part = Literal["odise", "unet", "vae", "text", "clip", "computed"]
Shape = tuple[int, ...]

_PREFIXES: dict[str, Part] = {
    f"{UNET}.": "unet",
    f"{VAE}.": "vae",
    f"{COND_STAGE}.": "text",
    f"{CLIP}.": "clip",
}
#: The modules of diffusers and transformers in our model.
OURS = {
    "unet": "backbone.diffusion.unet.",
    "vae": "backbone.diffusion.vae.",
    "text": "backbone.diffusion.cond_stage.",
}


@dataclass(frozen=True)
class Wanted:
    """One tensor of the model.

    Attributes:
        ours: its name in the modules of this code, which are those of diffusers and transformers.
        shape: its official shape.
    """

    ours: str
    shape: Shape


@dataclass(frozen=True)
class Expected:
    """All tensors of a preset. CLIP stands once.

    Attributes:
        parts: part -> official name -> tensor.
        constants: official name -> value that the model computes itself.
        labels: the categories of training with their synonyms.
    """

    preset: Preset
    parts: Mapping[Part, Mapping[str, Wanted]]
    constants: Mapping[str, Tensor]
    labels: Sequence[Sequence[str]]

    @classmethod
    @cache
    def of(cls, preset: Preset) -> Expected:
        """Read names and shapes from a model without weights."""
        with torch.device("meta"):
            model = ODISE(preset)
        parts: dict[Part, dict[str, Wanted]] = {"odise": {}, "unet": {}, "vae": {}, "text": {}, "clip": {}}
        parts["computed"] = {}
        for slot in slots(model):
            name = slot.names[0]
            parts[_part(name, slot.trainable)][name] = Wanted(slot.ours, slot.shape)
        return cls(preset, parts, derived_constants(preset), model.train_labels)

    def shapes(self, part: Part) -> dict[str, Shape]:
        """Return official name -> shape of one part."""
        return {name: wanted.shape for name, wanted in self.parts[part].items()}

    @cached_property
    def size(self) -> int:
        """Bytes of all tensors in single precision."""
        numbers = sum(torch.Size(w.shape).numel() for part in self.parts.values() for w in part.values())
        return 4 * numbers + sum(value.nbytes for value in self.constants.values())


def _part(name: str, trainable: bool) -> Part:
    if trainable:
        return "odise"
    return next((part for prefix, part in _PREFIXES.items() if name.startswith(prefix)), "computed")

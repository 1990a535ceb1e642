"""The stages of the model, in the order they run. A new stage is one file and one line here."""

from __future__ import annotations

from .captioner import Captioner
from .clip_pool import ClipPool
from .features import Features
from .mask_head import MaskHead
from .text_encoder import TextEncoder
from .wrapper import StageWrapper

STAGES: dict[str, type[StageWrapper]] = {
    "captioner": Captioner,
    "features": Features,
    "mask_head": MaskHead,
    "clip_pool": ClipPool,
    "text_encoder": TextEncoder,
}

__all__ = ["STAGES", "StageWrapper"]

"""Stable Diffusion models of other versions, told by names and shapes.

Versions 1.1 to 1.5 have the same names and shapes, and 2.x has the same noise schedule as they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from odise_trt.errors import WeightsError
from reference.convert.expected import Expected, Shape
from reference.weights.official_names import COND_STAGE, UNET

_OPEN_CLIP = COND_STAGE.removesuffix("transformer.text_model") + "model."
_FIRST = f"{UNET}.input_blocks.0.0.weight"
_CROSS = ".attn2.to_k.weight"
_HINT = "ODISE is made of Stable Diffusion v1.3: give that one"


def require_version_1(path: Path, shapes: Mapping[str, Shape], expected: Expected) -> None:
    """Raise WeightsError for version 2.x, SDXL and models with other inputs.

    Args:
        shapes: what the file has, under official names.
    """
    if any(".conditioner." in name or name.startswith("conditioner.") for name in shapes):
        raise WeightsError(f"{path} is Stable Diffusion XL", _HINT)
    if any(name.startswith(_OPEN_CLIP) for name in shapes):
        raise WeightsError(f"{path} is Stable Diffusion 2.x: its text encoder is OpenCLIP's", _HINT)
    unet = expected.preset.unet
    first = shapes.get(_FIRST, ())
    if len(first) == 4 and first[1] != unet.latent_channels:
        what = {9: "an inpainting model", 8: "a model that edits images", 5: "a depth model"}
        kind = what.get(first[1], "another model")
        raise WeightsError(f"{path} is {kind}: its UNet reads {first[1]} channels", _HINT)
    for name, shape in shapes.items():
        if name.startswith(UNET) and name.endswith(_CROSS) and shape[-1] != unet.context_dim:
            version = {1024: "Stable Diffusion 2.x", 2048: "Stable Diffusion XL"}.get(
                shape[-1], "another model"
            )
            raise WeightsError(
                f"{path} is {version}: its UNet reads captions of width {shape[-1]}, not {unet.context_dim}",
                _HINT,
            )

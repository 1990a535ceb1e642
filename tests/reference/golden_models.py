"""The official model's numbers at reduced widths, and the reference with the same weights."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reference.checkpoint import load_official
from reference.model import ODISE
from reference.preset import PRESETS

GOLDENS = Path(__file__).resolve().parent.parent / "goldens"

#: Largest relative L2 distance to the official code.
TOLERANCE = 1e-4

ALL_CASES = [(kind, size) for kind in ("label", "caption") for size in ("512", "nonsquare", "small")]


class GoldenCase:
    """One inference case of the official code."""

    def __init__(self, kind: str, size: str) -> None:
        self.kind = kind
        self._arrays = np.load(GOLDENS / f"golden_{kind}_{size}.npz")
        self.labels = json.loads(str(self._arrays["labels_json"]))

    def __getitem__(self, name: str) -> Tensor:
        """An array; thinned out if the file has it so."""
        return torch.from_numpy(self._arrays[name])

    def __contains__(self, name: str) -> bool:
        return name in self._arrays.files

    @property
    def padded_image(self) -> Tensor:
        """(1, 3, H, W) in [0, 1], padded to multiples of 64."""
        image = self["image_uint8"][None].float() / 255
        height, width = (int(size) for size in self["padded_image_shape"][-2:])
        return F.pad(image, (0, width - image.shape[-1], 0, height - image.shape[-2]))

    @property
    def attention_mask(self) -> Tensor:
        """MaskCLIP's official mask: (heads, sequence, sequence), true where blocked."""
        shape = tuple(self["clip_head.attn_mask_shape"])
        bits = np.unpackbits(self["clip_head.attn_mask_packed"].numpy())
        return torch.from_numpy(bits[: np.prod(shape)].reshape(shape).astype(bool))

    def check(self, name: str, tensor: Tensor, tolerance: float = TOLERANCE) -> None:
        """Compare a whole tensor with the golden one."""
        if f"{name}__shape" in self:
            assert tuple(tensor.shape) == tuple(self[f"{name}__shape"]), name
        if f"{name}__stride" in self:
            stride = int(self[f"{name}__stride"])
            tensor = tensor[..., ::stride, ::stride]
        assert tensor.shape == self[name].shape, name
        distance = relative_l2(tensor, self[name])
        assert distance <= tolerance, f"{name} is {distance:.1e} away from the official code"


@cache
def golden_case(kind: str, size: str) -> GoldenCase:
    return GoldenCase(kind, size)


@cache
def golden_weights(kind: str) -> dict[str, Tensor]:
    """The official state dict, every copy of CLIP included."""
    config = json.loads((GOLDENS / "small_config.json").read_text())
    weights = _arrays(f"{kind}_small") | _arrays("ldm_small")
    clip = _arrays("clip_small")
    for prefix in config["clip_prefixes"][kind]:
        weights |= {prefix + name: tensor for name, tensor in clip.items()}
    return weights


@cache
def golden_model(kind: str) -> ODISE:
    """The reference with the golden weights; not to be changed."""
    model = ODISE(PRESETS[f"golden-{kind}"])
    load_official(model, golden_weights(kind))
    return model.eval()


@cache
def golden_tokens() -> dict[str, list[int]]:
    """Tokens of every text of the goldens."""
    return json.loads((GOLDENS / "small_config.json").read_text())["tokens"]


def relative_l2(tensor: Tensor, expected: Tensor) -> float:
    expected = expected.double()
    return ((tensor.detach().double() - expected).norm() / expected.norm()).item()


def _arrays(name: str) -> dict[str, Tensor]:
    with np.load(GOLDENS / f"{name}.npz") as arrays:
        tensors = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    return {key: t.float() if t.dtype == torch.float16 else t for key, t in tensors.items()}

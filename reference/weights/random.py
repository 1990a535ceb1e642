"""Seeded random weights, for parity tests and benchmarks without the official files.

Every parameter is random, also those whose training starts at zero or one, so that every path through the
model is active. Each is scaled so that activations keep their magnitude from layer to layer.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

import torch
from torch import Tensor

#: Seed of the noise that all windows share, as in the official model.
NOISE_SEED = 42


class Spread(NamedTuple):
    """A uniform distribution."""

    mean: float
    deviation: float


#: By official name; the first match applies. Other parameters are biases, or matrices scaled by fan-in.
_RULES: tuple[tuple[str, Spread], ...] = (
    # Near the trained value of OpenAI's CLIP, ln 100, where both are clamped.
    (r"\.logit_scale$", Spread(4.5, 0.1)),
    (r"\.alpha_cond(_time_embed)?$", Spread(0.0, 1.0)),
    (r"(embedding|query_feat|query_embed|level_embed|null_embed)(\.weight)?$", Spread(0.0, 1.0)),
    # In pixels of the sampled level: as far as the official initialisation spreads its points.
    (r"sampling_offsets\.bias$", Spread(0.0, 2.0)),
)
#: With random masks, all queries receive nearly the same update from the image. This gain keeps the updates
#: smaller than the initial queries, so that the queries keep different masks.
_QUERY_UPDATE = re.compile(r"\.predictor\..*(out_proj|linear2|pool_proj\.\d+)\.weight$")
_QUERY_UPDATE_GAIN = 0.3
_MASK_EMBED = r"\.predictor\.mask_embed\.layers\.2\."
_NORM_WEIGHT = Spread(1.0, 0.1)
_BIAS = Spread(0.0, 0.1)


#: The mean of mask logits is this far below zero, and their spread is this many times that of fan-in scaling.
#: Then each query's mask covers a good part of the image, and a pixel that rounding moves across the
#: threshold is one of thousands that the query attends to. So parity can be exact.
_MASK_OFFSET, _MASK_GAIN = 3.0, 2.0


def fill(name: str, tensor: Tensor, seed: int) -> None:
    """Overwrite a parameter with random numbers.

    The numbers depend on the arguments alone, not on other parameters or on the order of calls.

    Args:
        name: the official name.
        tensor: fp32, on the CPU.
        seed: any number.
    """
    generator = _generator(f"{seed}:{name}")
    if name.endswith("uncond_inputs"):
        tensor.normal_(generator=generator)
    elif name.endswith("shared_noise"):
        tensor.normal_(generator=torch.Generator().manual_seed(NOISE_SEED))
    else:
        mean, deviation = spread(name, tensor)
        # A uniform distribution extends sqrt(3) deviations to each side.
        reach = 3**0.5 * deviation
        tensor.uniform_(mean - reach, mean + reach, generator=generator)


def spread(name: str, tensor: Tensor) -> Spread:
    """Return the distribution of a parameter, given its official name."""
    for pattern, rule in _RULES:
        if re.search(pattern, name):
            return rule
    # The offset of the logits is the product of these two biases.
    if re.search(r"\.pixel_decoder\.mask_features\.bias$", name):
        return Spread((_MASK_OFFSET / tensor.numel()) ** 0.5, 0.1)
    if re.search(f"{_MASK_EMBED}bias$", name):
        return Spread(-((_MASK_OFFSET / tensor.numel()) ** 0.5), 0.1)
    if tensor.ndim < 2:
        return _NORM_WEIGHT if name.endswith(".weight") else _BIAS
    # CLIP multiplies by its two projections from the right.
    fan_in = tensor.shape[0] if re.search(r"(visual\.proj|text_projection)$", name) else tensor[0].numel()
    gain = 1.0
    if re.search(f"{_MASK_EMBED}weight$", name):
        gain = _MASK_GAIN
    elif _QUERY_UPDATE.search(name):
        gain = _QUERY_UPDATE_GAIN
    return Spread(0.0, gain * fan_in**-0.5)


def _generator(text: str) -> torch.Generator:
    digest = hashlib.sha256(text.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)

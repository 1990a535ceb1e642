"""Random weights that keep a model alive: for parity tests and benchmarks without the official files.

Every parameter is random, also those that start training at zero or one, so that no path through the
model is switched off; and each is scaled so that activations keep their size on the way through.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

import torch
from torch import Tensor

#: Seed of the noise all windows share, in the official model too.
NOISE_SEED = 42


class Spread(NamedTuple):
    """A uniform distribution."""

    mean: float
    deviation: float


#: By official name; the first that fits holds. The rest is a bias, or a matrix scaled by its fan-in.
_RULES: tuple[tuple[str, Spread], ...] = (
    # Near the value OpenAI's CLIP ends at, ln 100, which is also where both are clamped.
    (r"\.logit_scale$", Spread(4.5, 0.1)),
    (r"\.alpha_cond(_time_embed)?$", Spread(0.0, 1.0)),
    (r"(embedding|query_feat|query_embed|level_embed|null_embed)(\.weight)?$", Spread(0.0, 1.0)),
    # In pixels of the level that is sampled: as far as the official initialisation spreads its points.
    (r"sampling_offsets\.bias$", Spread(0.0, 2.0)),
)
#: What a query takes up of the image is the same for all queries while masks are noise; kept this much
#: weaker than what the queries start with, it does not make one mask of all of them.
_QUERY_UPDATE = re.compile(r"\.predictor\..*(out_proj|linear2|pool_proj\.\d+)\.weight$")
_QUERY_UPDATE_GAIN = 0.3
_MASK_EMBED = r"\.predictor\.mask_embed\.layers\.2\."
_NORM_WEIGHT = Spread(1.0, 0.1)
_BIAS = Spread(0.0, 0.1)


#: Mask logits lie this far below zero on average, and spread this many times further than fan-in would
#: have it, so that each query's mask covers a good part of the image. A pixel that rounding turns from one
#: side of the threshold to the other is then one of thousands that a query attends to, and parity can be
#: exact.
_MASK_OFFSET, _MASK_GAIN = 3.0, 2.0


def fill(name: str, tensor: Tensor, seed: int) -> None:
    """Overwrite a parameter with random numbers.

    They depend on the arguments alone, not on the order or on the other parameters.

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
        # A uniform distribution reaches sqrt(3) deviations far.
        reach = 3**0.5 * deviation
        tensor.uniform_(mean - reach, mean + reach, generator=generator)


def spread(name: str, tensor: Tensor) -> Spread:
    """How the numbers of a parameter are distributed."""
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
    # CLIP's two projections stand to the right of what they multiply.
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

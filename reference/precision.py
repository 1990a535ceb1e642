"""Where a half-precision model still computes in float32."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """`x` itself, or its float32 copy where it is narrower than that (float64 stays float64).

    Sampling locations, mask logits, pooling sums and final logits go through here: half precision
    resolves a pixel position of a large image to half a pixel only, and a sum over a mask overflows it.
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))

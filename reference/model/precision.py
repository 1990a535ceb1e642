"""Where a half-precision model still computes in float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """`x` itself, or its float32 copy where it is narrower than that (float64 stays float64).

    Sampling locations, mask logits, pooling sums and final logits go through here: half precision
    resolves a pixel position of a large image to half a pixel only, and a sum over a mask overflows it.
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))


def products_as_they_are(x: Tensor) -> AbstractContextManager[object]:
    """A context where products of float32 are float32: autocast would round both sides to half again.

    Args:
        x: on the device that computes.
    """
    kind = x.device.type
    # Only where there is something to turn off: an exported graph has no autocast in it.
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()

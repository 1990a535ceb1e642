"""Helpers for the parts of a half-precision model that compute in float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Return `x`, or a float32 copy if it has a narrower type. float64 stays float64.

    Sampling locations, mask logits, pooling sums and final logits need this. In half precision, a position in
    a large image is accurate to half a pixel only, and a sum over a mask overflows.
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))


def products_as_they_are(x: Tensor) -> AbstractContextManager[object]:
    """Return a context in which products of float32 stay float32; autocast would round both sides to half.

    Args:
        x: on the device that computes.
    """
    kind = x.device.type
    # Autocast is turned off only if it is on, so that an exported graph has no autocast in it.
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()

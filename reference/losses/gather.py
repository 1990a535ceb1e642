"""What the losses exchange between the processes of a training. Alone, a process exchanges nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is."""
    return dist.get_rank() if world_size() > 1 else 0


def mean(value: Tensor) -> Tensor:
    """The mean of a number over the processes, without gradient."""
    value = value.detach().clone()
    if world_size() > 1:
        dist.all_reduce(value)
    return value / world_size()


def gather(x: Tensor) -> Tensor:
    """(B, ...) of every process, in the order of their ranks: (world * B, ...). B is the same in all.

    The gradient of a process's part is the sum over what all processes made of it. With losses and
    gradients averaged over the processes, as DDP does, that is the gradient of the whole batch.
    """
    return x if world_size() == 1 else _Gather.apply(x)  # type: ignore[no-untyped-call]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(world_size())[rank()]

"""The processes that train together: one, or those that `torchrun` started."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from reference.device import choose_device
from reference.errors import TrainingError


@dataclass(frozen=True)
class Processes:
    """One process among those that train together.

    Attributes:
        device: what this one computes on.
        rank, world: which of how many.
    """

    device: torch.device
    rank: int = 0
    world: int = 1
    # Messages about the run itself; on the CPU, so that they never wait for a GPU.
    _messages: Any = None

    @property
    def first(self) -> bool:
        """This is the one that writes and prints."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module, with its gradients averaged over the processes."""
        if self.world == 1:
            return module
        # Buffers are constants here, and every trainable parameter is used in every step.
        return DistributedDataParallel(module, broadcast_buffers=False, gradient_as_bucket_view=True)

    def largest(self, *values: int) -> list[int]:
        """The largest of the processes' values, one by one."""
        if self.world == 1:
            return list(values)
        tensor = torch.tensor(values)
        dist.all_reduce(tensor, dist.ReduceOp.MAX, group=self._messages)
        return tensor.tolist()

    def agree(self, error: Exception | None) -> None:
        """Go on, unless one of the processes has an error: then all of them end here.

        Raises:
            Exception: the own error, or a `TrainingError` where another process has one.
        """
        (failed,) = self.largest(int(error is not None))
        if error is not None:
            raise error
        if failed:
            raise TrainingError("another process of this run cannot go on", "its message says why")

    def by_first(self, work: Callable[[], object]) -> None:
        """Let the first process do something that the others wait for.

        Raises:
            Exception: its error; in the others a `TrainingError`.
        """
        error = None
        if self.first:
            try:
                work()
            except Exception as caught:
                error = caught
        self.agree(error)

    def gather(self, values: list[Any]) -> list[Any]:
        """The values of all processes, in their order."""
        if self.world == 1:
            return values
        lists: list[Any] = [None] * self.world
        dist.all_gather_object(lists, values, group=self._messages)
        return [value for one in lists for value in one]

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean of the processes' values, without gradient."""
        if self.world > 1:
            dist.all_reduce(values)
        return values / self.world


@contextmanager
def processes(device: str | None = None) -> Iterator[Processes]:
    """Join the processes that `torchrun` started, or be the only one.

    Args:
        device: "cpu", "cuda" or "cuda:1"; a GPU where there is one, by default. Of many processes each
            takes the GPU of its local rank.

    Raises:
        DeviceError: there is no such device.
    """
    chosen = choose_device(device)
    if "WORLD_SIZE" not in os.environ:
        yield Processes(chosen)
        return
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        messages = dist.new_group(backend="gloo")
        yield Processes(chosen, dist.get_rank(), dist.get_world_size(), messages)
    finally:
        dist.destroy_process_group()

"""The processes of a training run: one process, or those that `torchrun` started."""

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
    """One of the processes that train together.

    Attributes:
        device: the device of this process.
        rank, world: number of this process from 0, and number of all processes.
    """

    device: torch.device
    rank: int = 0
    world: int = 1
    # Group for messages about the run. It is on the CPU, so that messages never wait for a GPU.
    _messages: Any = None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """Wrap a module so that its gradients are averaged over the processes."""
        if self.world == 1:
            return module
        # Buffers are constants here, and every trainable parameter is used in every step.
        return DistributedDataParallel(module, broadcast_buffers=False, gradient_as_bucket_view=True)

    def largest(self, *values: int) -> list[int]:
        """Return the elementwise maximum of the values of all processes."""
        if self.world == 1:
            return list(values)
        tensor = torch.tensor(values)
        dist.all_reduce(tensor, dist.ReduceOp.MAX, group=self._messages)
        return tensor.tolist()

    def agree(self, error: Exception | None) -> None:
        """Raise in all processes if one of them has an error.

        Raises:
            Exception: the error of this process, or a `TrainingError` if another process has one.
        """
        (failed,) = self.largest(int(error is not None))
        if error is not None:
            raise error
        if failed:
            raise TrainingError("another process of this run cannot go on", "its message says why")

    def by_first(self, work: Callable[[], object]) -> None:
        """Run `work` in the first process, while the others wait.

        Raises:
            Exception: the error of `work`; in the other processes a `TrainingError`.
        """
        error = None
        if self.first:
            try:
                work()
            except Exception as caught:
                error = caught
        self.agree(error)

    def gather(self, values: list[Any]) -> list[Any]:
        """Concatenate the lists of all processes in the order of ranks."""
        if self.world == 1:
            return values
        lists: list[Any] = [None] * self.world
        dist.all_gather_object(lists, values, group=self._messages)
        return [value for one in lists for value in one]

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return the mean of a tensor over the processes, without gradient."""
        if self.world > 1:
            dist.all_reduce(values)
        return values / self.world


@contextmanager
def processes(device: str | None = None) -> Iterator[Processes]:
    """Join the processes that `torchrun` started, or run as a single process.

    Args:
        device: "cpu", "cuda" or "cuda:1". Default: a GPU if there is one. If there are several processes,
            each takes the GPU of its local rank.

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

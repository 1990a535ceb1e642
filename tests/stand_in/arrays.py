"""Pictures that lie on a stand-in GPU, as another library makes them: late, on a stream of its own."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from odise_trt.backends import exchange

from .cuda import StandInCuda


class Foreign:
    """An array of another library. Its memory goes with it, whoever still uses it.

    Attributes:
        address: its first byte.
        stream: what makes its content is queued here.
        asked: streams that were told to wait for it.
        free: frees the memory now, as a library with a bug would.
    """

    def __init__(self, cuda: StandInCuda, content: np.ndarray, gap: int = 0) -> None:
        """Queue what makes the content. `gap`: bytes between two rows, which nobody ever writes."""
        self.cuda, self.content = cuda, np.ascontiguousarray(content)
        row = self.content[0].nbytes
        self.pitch = row + gap
        self.address = cuda.space.allocate(len(content) * self.pitch)
        self.stream = cuda.foreign_stream()
        self.asked: list[int] = []
        self.fill(self.content)
        self.free = weakref.finalize(self, cuda.free_foreign, self.address, self.stream)

    def fill(self, content: np.ndarray) -> None:
        """Queue another content."""
        space, row, address, pitch = self.cuda.space, content[0].nbytes, self.address, self.pitch
        rows = np.ascontiguousarray(content).reshape(len(content), -1).view(np.uint8)

        def make() -> None:
            for number, one in enumerate(rows):
                space.write(address + number * pitch, one, row)

        writes = [(address + number * pitch, row) for number in range(len(rows))]
        with self.cuda.current():
            self.cuda.queue(make, writes=writes, stream=self.stream)

    def interface(self) -> dict[str, Any]:
        strides = (self.pitch, *self.content.strides[1:])
        return {
            "shape": self.content.shape,
            "typestr": self.content.dtype.str,
            "data": (self.address, True),
            "strides": strides if self.pitch > self.content.strides[0] else None,
            "stream": self.stream,
            "version": 3,
        }


class ByInterface(Foreign):
    """It has `__cuda_array_interface__`, as arrays of Numba."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self.interface()


class ByDLPack(Foreign):
    """It has both, as tensors of torch, whose `__cuda_array_interface__` names no stream."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self.interface() | {"stream": None, "version": 2}

    def __dlpack_device__(self) -> tuple[int, int]:
        return exchange.CUDA, self.cuda.index

    def __dlpack__(self, *, stream: int) -> Any:
        self.asked.append(stream)
        with self.cuda.current():
            event = self.cuda.event()
            self.cuda.record(event, self.stream)
            self.cuda.wait(stream, event)
            self.cuda.free_event(event)
        shape, device = self.content.shape, self.__dlpack_device__()
        return exchange.capsule_of(self.address, str(self.content.dtype), shape, device, self)

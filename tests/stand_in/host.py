"""The memory of this machine as a "device", for engines that run on the CPU. Everything is done at once."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from odise_trt.backends.cuda import Device


class HostMemory:
    """Addresses are real ones of this process, see `odise_trt.backends.cuda.Cuda`."""

    through = "this machine"
    can_record = False
    device = Device("CPU", "", "", 2**31)
    index = 0
    stream = uploads = downloads = 0

    def __init__(self) -> None:
        self.arrays: dict[int, np.ndarray] = {}

    @contextmanager
    def current(self) -> Iterator[None]:
        yield

    def free_memory(self) -> int:
        return 2**31

    def allocate(self, size: int) -> int:
        whole = np.empty(size + 256, np.uint8)
        address = whole.ctypes.data + -whole.ctypes.data % 256
        self.arrays[address] = whole
        return address

    def free(self, address: int) -> None:
        del self.arrays[address]

    def allocate_pinned(self, size: int) -> np.ndarray:
        return np.empty(size, np.uint8)

    def free_pinned(self, array: np.ndarray) -> None:
        """Nothing is pinned."""

    def upload(self, address: int, array: np.ndarray, stream: int | None = None) -> None:
        ctypes.memmove(address, array.ctypes.data, array.nbytes)

    def download(self, array: np.ndarray, address: int, stream: int | None = None) -> None:
        ctypes.memmove(array.ctypes.data, address, array.nbytes)

    def copy(self, target: int, source: int, size: int) -> None:
        ctypes.memmove(target, source, size)

    def copy_rows(self, target: int, source: int, row: int, pitch: int, rows: int, stream: int) -> None:
        for number in range(rows):
            ctypes.memmove(target + number * row, source + number * pitch, row)

    def fetch(self, array: np.ndarray, address: int) -> None:
        ctypes.memmove(array.ctypes.data, address, array.nbytes)

    def gpu_of(self, address: int) -> int | None:
        return 0

    def clear(self, address: int, size: int) -> None:
        ctypes.memset(address, 0, size)

    def synchronize(self) -> None:
        """Nothing is queued."""

    def event(self) -> int:
        return 0

    def record(self, event: int, stream: int) -> None:
        """Nothing is queued."""

    def wait(self, stream: int, event: int) -> None:
        """Nothing is queued."""

    def wait_for(self, event: int) -> None:
        """Nothing is queued."""

    def free_event(self, event: int) -> None:
        """Nothing is held."""

    def begin_recording(self) -> None:
        raise NotImplementedError

    def end_recording(self, host_allowed: bool = True) -> int:
        raise NotImplementedError

    def launch(self, graph: int) -> None:
        raise NotImplementedError

    def free_graph(self, graph: int) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is held."""

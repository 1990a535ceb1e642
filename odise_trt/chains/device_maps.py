"""Id maps that stay on the GPU, each in memory of its own."""

from __future__ import annotations

import weakref
from collections import deque
from contextlib import suppress

from ..backends.cuda import Cuda
from ..backends.device import DeviceTensor
from ..backends.device_array import DeviceArray
from ..errors import BackendError, DeviceMemoryError

#: Bytes of dead maps that are kept before they are freed together.
_MOST_DEAD = 2**26


class DeviceMaps:
    """Makes maps, and frees the memory of those that are gone.

    A map may die in any thread and at any moment, also while a graph is recorded, and other libraries may
    still have work queued that reads it. So its memory is only noted then. It is freed between two pictures,
    by a call that waits for all work of the GPU, on whatever stream. That is why several are freed together.

    Maps outlive the chain: one that dies after `close` is freed at once.
    """

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._dead: deque[tuple[int, int]] = deque()
        self._closed = False

    def copy_of(self, tensor: DeviceTensor) -> DeviceArray:
        """Queue a copy of a tensor, in order with the engines, and return it.

        Raises:
            DeviceMemoryError: the GPU has too little memory.
        """
        try:
            address = self._cuda.allocate(tensor.nbytes)
        except DeviceMemoryError:
            self._free_dead()
            address = self._cuda.allocate(tensor.nbytes)
        array = DeviceArray(self._cuda, address, tensor.dtype, tensor.shape)
        # At the end of the process, the driver frees everything, and may be gone already.
        weakref.finalize(array, self._retire, address, tensor.nbytes).atexit = False
        self._cuda.copy(address, tensor.address, tensor.nbytes)
        return array

    def sweep(self) -> None:
        """Free dead maps, if there are many. No graph may be on record at this moment."""
        if sum(size for _, size in list(self._dead)) >= _MOST_DEAD:
            self._free_dead()

    def close(self) -> None:
        """Free dead maps. Those that live free themselves."""
        self._closed = True
        self._free_dead()

    def _retire(self, address: int, size: int) -> None:
        self._dead.append((address, size))
        if self._closed:
            with suppress(BackendError), self._cuda.current():
                self._free_dead()

    def _free_dead(self) -> None:
        while self._dead:
            with suppress(IndexError):  # another thread was faster
                self._cuda.free(self._dead.popleft()[0])

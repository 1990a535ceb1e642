"""The memory of one picture on its way: pinned memory of the host, and its mirror on the device."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from ..backends.cuda import Buffer, Cuda
from ..backends.device import DeviceTensor
from ..backends.device_array import DeviceArray
from .resident import Packed

#: What a picture takes: an array of the host, one of the GPU, or a tensor that is made on the GPU.
Taken = np.ndarray | DeviceArray | DeviceTensor


class Slot:
    """Memory that pictures use one after the other.

    What goes up and what comes down are one copy each. The copies run on streams of their own, so they
    overlap with the engines' work on other pictures.

    Attributes:
        number: no other slot has it.
        moved: how often its device memory moved.
        takes, gives: the tensors on the device that go up, and that come down.
    """

    def __init__(self, cuda: Cuda, number: int) -> None:
        self.number = number
        self.moved = 0
        self._cuda = cuda
        self._up, self._down = Buffer(cuda), Buffer(cuda)
        self._pinned: dict[str, np.ndarray] = {}
        self._there, self._computed, self._back = (cuda.event() for _ in range(3))
        self._reads = Packed({})
        self.takes: dict[str, DeviceTensor] = {}
        self.gives: dict[str, DeviceTensor] = {}

    @property
    def size(self) -> int:
        """Bytes of its device memory."""
        return self._up.size + self._down.size

    def reserve(
        self, takes: Packed, gives: Packed
    ) -> tuple[dict[str, DeviceTensor], dict[str, DeviceTensor]]:
        """Make room for a picture, and return the tensors on the device that go up, and that come down.

        Raises:
            DeviceMemoryError: the device has too little memory.
        """
        for buffer, name, packed in ((self._up, "up", takes), (self._down, "down", gives)):
            if packed.bytes > buffer.size:
                self.moved += 1
                address = buffer.reserve(packed.bytes)
                if name == "down":
                    # One copy brings all tensors, and what lies between them.
                    self._cuda.clear(address, packed.bytes)
            pinned = self._pinned.get(name)
            if pinned is None or len(pinned) < packed.bytes:
                if pinned is not None:
                    self._cuda.free_pinned(self._pinned.pop(name))
                self._pinned[name] = self._cuda.allocate_pinned(max(packed.bytes, 1))
        self._reads = gives
        self.gives = gives.at(self._down.reserve(gives.bytes))
        self.takes = takes.at(self._up.reserve(takes.bytes))
        return self.takes, self.gives

    def upload(self, takes: Packed, arrays: Mapping[str, Taken]) -> None:
        """Queue the upload. The engines' stream waits for it, and for earlier uploads.

        Args:
            takes: where everything goes.
            arrays: those of the host first. Those of the GPU are copied there, and must live until the
                download is there. Tensors are only placed: something else fills them.
        """
        pinned, address, uploads = self._pinned["up"], self._up.reserve(takes.bytes), self._cuda.uploads
        size = takes.bytes
        views = takes.views(pinned)
        for name, array in arrays.items():
            if isinstance(array, np.ndarray):
                views[name][...] = array
                continue
            size = min(size, takes.offsets[name])
            if isinstance(array, DeviceArray):
                array.copy_to(address + takes.offsets[name], uploads)
        if size:
            self._cuda.upload(address, pinned[:size], uploads)
        self._cuda.record(self._there, uploads)
        self._cuda.wait(self._cuda.stream, self._there)

    def download(self, without: Collection[str] = ()) -> None:
        """Queue the download, after what the engines' stream has to do now.

        Args:
            without: tensors that are left out. They are the last ones.
        """
        read = {name: one for name, one in self._reads.tensors.items() if name not in without}
        self._reads = Packed({name: (one.shape, one.dtype) for name, one in read.items()})
        self._cuda.record(self._computed, self._cuda.stream)
        self._cuda.wait(self._cuda.downloads, self._computed)
        pinned = self._pinned["down"][: self._reads.bytes]
        self._cuda.download(pinned, self._down.reserve(self._reads.bytes), self._cuda.downloads)
        self._cuda.record(self._back, self._cuda.downloads)

    def wait(self) -> dict[str, np.ndarray]:
        """Wait for the download, and return the arrays. They are valid until the slot is used again.

        Raises:
            BackendError: work on the device failed.
        """
        self._cuda.wait_for(self._back)
        return self._reads.views(self._pinned["down"])

    def close(self) -> None:
        """Free everything. No queued work may use it."""
        self._up.close()
        self._down.close()
        for array in self._pinned.values():
            self._cuda.free_pinned(array)
        self._pinned.clear()
        for event in (self._there, self._computed, self._back):
            self._cuda.free_event(event)

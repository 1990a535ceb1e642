"""What stays on the device for many pictures: the vectors of a size, and the tables of a vocabulary."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from weakref import WeakKeyDictionary, ref

import numpy as np

from ..backends.cuda import Cuda
from ..backends.device import DeviceTensor
from ..pipeline.arena import aligned
from ..text_table import TextTable

_serials = itertools.count(1)


class Packed:
    """Arrays in one piece of memory, each at an aligned place.

    Attributes:
        offsets: name -> its first byte.
        bytes: all of them.
    """

    def __init__(self, tensors: Mapping[str, tuple[tuple[int, ...], str]]) -> None:
        """Lay them out. `tensors`: name -> shape and dtype."""
        self.tensors = {name: DeviceTensor(0, dtype, shape) for name, (shape, dtype) in tensors.items()}
        self.offsets: dict[str, int] = {}
        at = 0
        for name, one in self.tensors.items():
            self.offsets[name] = at
            at += aligned(one.nbytes)
        self.bytes = at

    def at(self, address: int) -> dict[str, DeviceTensor]:
        """Return the tensors in device memory that begins at an address."""
        return {
            name: DeviceTensor(address + self.offsets[name], one.dtype, one.shape)
            for name, one in self.tensors.items()
        }

    def views(self, memory: np.ndarray) -> dict[str, np.ndarray]:
        """Return the arrays in host memory uint8 (at least `bytes`,)."""
        return {
            name: memory[self.offsets[name] : self.offsets[name] + one.nbytes]
            .view(one.dtype)
            .reshape(one.shape)
            for name, one in self.tensors.items()
        }


class Resident:
    """Arrays that were uploaded once.

    Attributes:
        tensors: name -> tensor.
        serial: no other one has it.
        last_use: number of the last picture that used them.
    """

    def __init__(self, cuda: Cuda, arrays: Mapping[str, np.ndarray]) -> None:
        """Upload arrays on the stream for uploads.

        Raises:
            DeviceMemoryError: the device has too little memory.
        """
        packed = Packed({name: (array.shape, str(array.dtype)) for name, array in arrays.items()})
        self._cuda = cuda
        self._address = cuda.allocate(max(packed.bytes, 1))
        self.tensors = packed.at(self._address)
        # Arrays that are not contiguous are copied. All must live until they have arrived.
        self._arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        for name, array in self._arrays.items():
            cuda.upload(self.tensors[name].address, array, cuda.uploads)
        self.serial = next(_serials)
        self.last_use = 0

    def arrived(self) -> None:
        """Free the arrays of the host, after a picture that used the tensors is done."""
        self._arrays = {}

    def free(self) -> None:
        """Free the device memory, which no queued work may use."""
        self._cuda.free(self._address)


class Residents:
    """What stays on a device. What is not needed any more is freed once no picture on its way uses it."""

    def __init__(self, cuda: Cuda, most_sizes: int) -> None:
        self._cuda = cuda
        self._most_sizes = most_sizes
        self._sizes: OrderedDict[Hashable, Resident] = OrderedDict()
        self._tables: WeakKeyDictionary[TextTable, Resident] = WeakKeyDictionary()
        self._owners: dict[int, tuple[ref[TextTable], Resident]] = {}
        self._retired: list[Resident] = []

    def of_size(self, key: Hashable, make: Callable[[], Mapping[str, np.ndarray]]) -> Resident:
        """Return the vectors of a picture size. Those that were used least recently make room."""
        if key not in self._sizes:
            self._sizes[key] = Resident(self._cuda, make())
            while len(self._sizes) > self._most_sizes:
                self._retired.append(self._sizes.popitem(last=False)[1])
        self._sizes.move_to_end(key)
        return self._sizes[key]

    def of_table(self, table: TextTable, make: Callable[[], Mapping[str, np.ndarray]]) -> Resident:
        """Return the tensors of a table. They are dropped when nobody holds the table any more."""
        found = self._tables.get(table)
        if found is None:
            self._tables[table] = found = Resident(self._cuda, make())
            self._owners[found.serial] = (ref(table), found)
        return found

    def sweep(self, done: int) -> set[int]:
        """Free what nobody needs. Return the serials of all that are not to be used again.

        Args:
            done: the last picture before which all are done.
        """
        # Weak references end at any moment, in any thread. Only here is memory freed.
        for serial, (owner, one) in list(self._owners.items()):
            if owner() is None:
                self._retired.append(one)
                del self._owners[serial]
        gone = {one.serial for one in self._retired}
        for one in self._retired:
            if one.last_use <= done:
                one.free()
        self._retired = [one for one in self._retired if one.last_use > done]
        return gone

    def close(self) -> None:
        """Free everything. No picture may be on its way."""
        for one in (*self._sizes.values(), *(one for _, one in self._owners.values()), *self._retired):
            one.free()
        self._sizes.clear()
        self._tables.clear()
        self._owners.clear()
        self._retired.clear()

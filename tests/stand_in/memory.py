"""The memory of a "device": allocations at made-up addresses, and who may touch which bytes when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

#: Far from any address of this process, so that a host address is never taken for one of the device.
_FIRST = 0x7_0000_0000_0000
#: Addresses that one device has.
_RANGE = 0x100_0000_0000
#: Float NaN, and far outside of every index.
POISON = 0xFF

#: Stream -> how many of its items have happened before.
Clock = Mapping[int, int]


class DeviceFaultError(BaseException):
    """The program did what CUDA leaves undefined, or refuses.

    It is no `Exception`: nothing in the product may take it for an error of a library.
    """


@dataclass(frozen=True)
class Access:
    """Bytes that one item of a stream reads or writes."""

    start: int
    stop: int
    writes: bool
    stream: int = 0
    number: int = 0


@dataclass
class Allocation:
    """Bytes, which of them were ever written, and accesses that other work may still have to wait for."""

    start: int
    data: np.ndarray
    written: np.ndarray
    accesses: list[Access] = field(default_factory=list)

    @property
    def stop(self) -> int:
        return self.start + len(self.data)


def number_of(address: int) -> int | None:
    """The device whose memory this is. None: that of no device."""
    return (address - _FIRST) // _RANGE if address >= _FIRST else None


class AddressSpace:
    """All allocations of one device."""

    def __init__(self, limit: int, number: int = 0) -> None:
        self.limit = limit
        self.live: dict[int, Allocation] = {}
        self._freed: list[tuple[int, int]] = []
        self._next = _FIRST + number * _RANGE

    @property
    def used(self) -> int:
        return sum(len(one.data) for one in self.live.values())

    def allocate(self, size: int) -> int:
        if size < 1:
            raise DeviceFaultError(f"an allocation of {size} bytes")
        start = self._next
        self._next += (size // 4096 + 2) * 4096
        data = np.full(size, POISON, np.uint8)
        self.live[start] = Allocation(start, data, np.zeros(size, bool))
        return start

    def free(self, address: int, host: Clock) -> None:
        one = self.live.get(address)
        if one is None:
            raise DeviceFaultError(f"freed {address:#x}, which is no allocation")
        for access in one.accesses:
            if access.number > host.get(access.stream, 0):
                raise DeviceFaultError(f"freed {address:#x} while queued work uses it")
        del self.live[address]
        self._freed.append((one.start, one.stop))

    def find(self, address: int, size: int) -> Allocation:
        """The allocation that holds all these bytes."""
        for one in self.live.values():
            if one.start <= address and address + size <= one.stop:
                return one
        was = any(low <= address < high for low, high in self._freed)
        raise DeviceFaultError(
            f"{size} bytes at {address:#x}, which {'were freed' if was else 'nobody allocated'}"
        )

    def read(self, address: int, size: int) -> np.ndarray:
        """The bytes, all of which were written before."""
        one = self.find(address, size)
        part = slice(address - one.start, address - one.start + size)
        if not one.written[part].all():
            raise DeviceFaultError(f"read {size} bytes at {address:#x} that were never written")
        return one.data[part]

    def peek(self, address: int, size: int) -> np.ndarray:
        """The bytes, whether written or not: what lies between the rows of a picture may be anything."""
        one = self.find(address, size)
        return one.data[address - one.start : address - one.start + size]

    def write(self, address: int, content: np.ndarray | int, size: int) -> None:
        one = self.find(address, size)
        part = slice(address - one.start, address - one.start + size)
        one.data[part] = content
        one.written[part] = True

    def spoil(self, address: int, size: int) -> None:
        """What scratch memory is after its use."""
        one = self.find(address, size)
        part = slice(address - one.start, address - one.start + size)
        one.data[part] = POISON
        one.written[part] = False

    def claim(self, accesses: Iterable[Access], clock: Clock, host: Clock) -> None:
        """Note accesses that are queued. Raise if other work on the same bytes is not ordered before them."""
        for new in accesses:
            one = self.find(new.start, new.stop - new.start)
            one.accesses = [old for old in one.accesses if old.number > host.get(old.stream, 0)]
            for old in one.accesses:
                overlap = old.start < new.stop and new.start < old.stop
                if overlap and (old.writes or new.writes) and old.number > clock.get(old.stream, 0):
                    raise DeviceFaultError(
                        f"streams {new.stream} and {old.stream} use {new.start:#x} at the same time"
                    )
            one.accesses.append(new)

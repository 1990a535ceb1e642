"""A "GPU" with streams that run as late as they can, see `odise_trt.backends.cuda.Cuda`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from odise_trt.backends.cuda import Device, out_of_memory
from odise_trt.errors import BackendError

from .memory import POISON, Access, AddressSpace, DeviceFaultError, number_of


@dataclass(frozen=True)
class Item:
    """Something queued on a stream: work, or a wait for an item of another stream."""

    run: Callable[[], None] | None = None
    accesses: tuple[Access, ...] = ()
    waits_for: tuple[int, int] | None = None


@dataclass
class Stream:
    """Items in order, how many have run, and what is known to happen before its next item."""

    items: list[Item] = field(default_factory=list)
    done: int = 0
    clock: dict[int, int] = field(default_factory=dict)


@dataclass
class Counts:
    """What a program asked for."""

    uploaded: int = 0
    downloaded: int = 0
    waits: int = 0
    launches: int = 0
    recorded: int = 0
    allocations: int = 0
    pinned: int = 0


class StandInCuda:
    """One GPU. `gpus` are all of the machine: each knows whether it is the current one."""

    through = "stand-in"
    can_record = True

    def __init__(self, index: int = 0, memory: int = 2**31, gpus: list[StandInCuda] | None = None) -> None:
        self.index = index
        self.device = Device(f"stand-in {index}", "8.9", "13.0", memory)
        self.space = AddressSpace(memory, index)
        self.counts = Counts()
        self.pinned: dict[int, np.ndarray] = {}
        self.events: dict[int, tuple[int, int, dict[int, int]] | None] = {}
        self.graphs: dict[int, list[Item]] = {}
        self._threads = threading.local()
        # Pictures that lie on the GPU are adopted in other threads.
        self._lock = threading.RLock()
        self.broken: BackendError | None = None
        self.claims_free: int | None = None
        self._handles = 100 * index
        self.stream, self.uploads, self.downloads = (self._handle() for _ in range(3))
        self.streams = {one: Stream() for one in (self.stream, self.uploads, self.downloads)}
        self._host: dict[int, int] = {}
        self._recording: list[Item] | None = None
        self._recorder = 0
        if gpus is not None:
            gpus.append(self)

    @property
    def is_current(self) -> bool:
        """Whether it is the current one of this thread."""
        return getattr(self._threads, "is_current", False)

    def free_foreign(self, address: int, stream: int) -> None:
        """Free memory of another library, which waits for nobody but its own stream."""
        with self._lock:
            number = len(self.streams[stream].items)
            self._reach(stream, number)
            self.space.free(address, self._host | {stream: number})

    @contextmanager
    def current(self) -> Iterator[None]:
        before, self._threads.is_current = self.is_current, True
        try:
            yield
        finally:
            self._threads.is_current = before

    def foreign_stream(self) -> int:
        """A stream of another library."""
        handle = self._handle()
        self.streams[handle] = Stream()
        return handle

    def free_memory(self) -> int:
        self._check()
        return self.space.limit - self.space.used if self.claims_free is None else self.claims_free

    def allocate(self, size: int) -> int:
        self._check(records=False)
        if self.space.used + size > self.space.limit:
            raise out_of_memory(f"CUDA: cudaMalloc of {size} bytes failed: out of memory")
        self.counts.allocations += 1
        return self.space.allocate(size)

    def free(self, address: int) -> None:
        self._check(records=False)
        self.space.free(address, self._host)

    def allocate_pinned(self, size: int) -> np.ndarray:
        self._check(records=False)
        self.counts.pinned += 1
        array = np.full(size, POISON, np.uint8)
        self.pinned[array.ctypes.data] = array
        return array

    def free_pinned(self, array: np.ndarray) -> None:
        self._check(records=False)
        del self.pinned[array.ctypes.data]

    def upload(self, address: int, array: np.ndarray, stream: int | None = None) -> None:
        if not array.flags.c_contiguous:
            raise DeviceFaultError("copied from an array that is not contiguous")
        if self._recording is None:
            self.counts.uploaded += array.nbytes

        def work() -> None:
            self.space.write(address, array.reshape(-1).view(np.uint8), array.nbytes)

        self.queue(work, writes=[(address, array.nbytes)], stream=stream)

    def download(self, array: np.ndarray, address: int, stream: int | None = None) -> None:
        if not array.flags.c_contiguous:
            raise DeviceFaultError("copied to an array that is not contiguous")
        if self._recording is None:
            self.counts.downloaded += array.nbytes
        place = array.reshape(-1).view(np.uint8)
        place[...] = POISON  # what is there before the copy has run

        def work() -> None:
            place[...] = self.space.read(address, array.nbytes)

        self.queue(work, reads=[(address, array.nbytes)], stream=stream)

    def copy(self, target: int, source: int, size: int) -> None:
        def work() -> None:
            self.space.write(target, self.space.read(source, size).copy(), size)

        self.queue(work, reads=[(source, size)], writes=[(target, size)])

    def copy_rows(self, target: int, source: int, row: int, pitch: int, rows: int, stream: int) -> None:
        if stream not in (self.stream, self.uploads, self.downloads) or row > pitch:
            raise DeviceFaultError(f"rows of {row} bytes at every {pitch}, on stream {stream}")

        def work() -> None:
            for number in range(rows):
                content = self.space.read(source + number * pitch, row).copy()
                self.space.write(target + number * row, content, row)

        reads = [(source + number * pitch, row) for number in range(rows)]
        self.queue(work, reads=reads, writes=[(target, row * rows)], stream=stream)

    def fetch(self, array: np.ndarray, address: int) -> None:
        # A copy that is waited for does not wait for what these streams have to do.
        self._check(records=False)
        self.space.claim([Access(address, address + array.nbytes, False)], self._host, self._host)
        array.reshape(-1).view(np.uint8)[...] = self.space.peek(address, array.nbytes)
        self.counts.downloaded += array.nbytes

    def gpu_of(self, address: int) -> int | None:
        self._check()
        return number_of(address)

    def clear(self, address: int, size: int) -> None:
        self.queue(lambda: self.space.write(address, 0, size), writes=[(address, size)])

    def synchronize(self) -> None:
        self._check(records=False)
        self.counts.waits += 1
        stream = self.streams[self.stream]
        self._finish(self.stream, len(stream.items), stream.clock | {self.stream: len(stream.items)})

    def event(self) -> int:
        self._check()
        handle = self._handle()
        self.events[handle] = None
        return handle

    def record(self, event: int, stream: int) -> None:
        self._check(records=False)
        with self._lock:
            one = self.streams[stream]
            self.events[event] = (stream, len(one.items), one.clock | {stream: len(one.items)})

    def wait(self, stream: int, event: int) -> None:
        self._check(records=False)
        happened = self.events[event]
        if happened is None:
            raise DeviceFaultError("a stream waits for an event that was never recorded")
        other, number, clock = happened
        with self._lock:
            one = self.streams[stream]
            one.items.append(Item(waits_for=(other, number)))
            for key, value in clock.items():
                one.clock[key] = max(one.clock.get(key, 0), value)

    def wait_for(self, event: int) -> None:
        self._check(records=False)
        self.counts.waits += 1
        happened = self.events[event]
        if happened is None:
            raise DeviceFaultError("waited for an event that was never recorded")
        self._finish(*happened)

    def free_event(self, event: int) -> None:
        self._check()
        del self.events[event]

    def begin_recording(self) -> None:
        self._check(records=False)
        self._recording, self._recorder = [], threading.get_ident()

    def end_recording(self, host_allowed: bool = True) -> int:
        recorded, self._recording = self._recording, None
        if recorded is None:
            raise BackendError("CUDA: cudaStreamEndCapture failed: nothing was recorded")
        handle = self._handle()
        self.graphs[handle] = recorded
        self.counts.recorded += 1
        return handle

    def launch(self, graph: int) -> None:
        self._check(records=False)
        self.counts.launches += 1
        for item in self.graphs[graph]:
            self._append(self.stream, item)

    def free_graph(self, graph: int) -> None:
        self._check()
        del self.graphs[graph]

    def close(self) -> None:
        self._check()

    def queue(
        self,
        run: Callable[[], None],
        *,
        reads: Sequence[tuple[int, int]] = (),
        writes: Sequence[tuple[int, int]] = (),
        stream: int | None = None,
    ) -> None:
        """Queue work that reads and writes these addresses and sizes."""
        self._check()
        accesses = tuple(
            Access(start, start + size, kind)
            for kind, some in ((False, reads), (True, writes))
            for start, size in some
        )
        if self._recording is not None and stream in (None, self.stream):
            self._recording.append(Item(run, accesses))
        else:
            self._append(self.stream if stream is None else stream, Item(run, accesses))

    def alive(self) -> dict[str, int]:
        """How much of everything was not freed."""
        return {
            "allocations": len(self.space.live),
            "pinned": len(self.pinned),
            "events": len(self.events),
            "graphs": len(self.graphs),
        }

    def _append(self, handle: int, item: Item) -> None:
        with self._lock:
            self._append_alone(handle, item)

    def _append_alone(self, handle: int, item: Item) -> None:
        stream = self.streams[handle]
        number = len(stream.items) + 1
        clock = stream.clock | {handle: number}
        for key, value in self._host.items():
            clock[key] = max(clock.get(key, 0), value)
        accesses = [replace(one, stream=handle, number=number) for one in item.accesses]
        self.space.claim(accesses, clock, self._host)
        stream.items.append(item)
        stream.clock = clock

    def _reach(self, handle: int, number: int) -> None:
        """Run a stream up to an item, and of other streams only what it waits for."""
        stream = self.streams[handle]
        while stream.done < number:
            item = stream.items[stream.done]
            stream.items[stream.done] = Item()  # frees what the item holds
            stream.done += 1
            if item.waits_for is not None:
                self._reach(*item.waits_for)
            elif item.run is not None:
                item.run()

    def _finish(self, handle: int, number: int, clock: dict[int, int]) -> None:
        """Let the host wait for an item. Like CUDA's, an error of the work comes again with every wait."""
        with self._lock:
            try:
                if self.broken is None:
                    self._reach(handle, number)
            except BackendError as error:
                self.broken = error
            finally:
                self._learn(clock)
        if self.broken is not None:
            raise self.broken

    def _learn(self, clock: dict[int, int]) -> None:
        for key, value in clock.items():
            self._host[key] = max(self._host.get(key, 0), value)

    def _check(self, records: bool = True) -> None:
        if not self.is_current:
            raise DeviceFaultError(f"work for GPU {self.index} while it is not the current one")
        # Other threads may do as they like while this one records.
        if self._recording is not None and not records and self._recorder == threading.get_ident():
            self._recording = None
            raise BackendError("CUDA: operation not permitted when stream is capturing")

    def _handle(self) -> int:
        self._handles += 1
        return self._handles

"""A GPU through pycuda, see `cuda.Cuda`. pycuda has no CUDA graphs."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import BackendError
from .cuda import NO_DRIVER, Cuda, Device, check_gpu, cuda_version, out_of_memory

_NO_GRAPHS = "pycuda has no CUDA graphs"
#: The driver's library, and its number of the attribute "index of the GPU".
_DRIVER, _DEVICE_ORDINAL = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1", 9


def open_pycuda(driver: Any, index: int) -> Cuda:
    """Open a GPU. `driver`: the module `pycuda.driver`.

    Raises:
        BackendError: there is no such GPU, or there is no driver for it.
    """
    return _PyCuda(driver, index)


class _PyCuda:
    """It keeps the objects of pycuda behind addresses and handles."""

    through = "pycuda"
    can_record = False

    def __init__(self, driver: Any, index: int) -> None:
        self._driver, self.index = driver, index
        try:
            driver.init()
        except driver.Error as error:
            raise BackendError(f"CUDA cannot start: {error}", NO_DRIVER) from error
        check_gpu(index, driver.Device.count())
        device = driver.Device(index)
        # TensorRT uses the same context, through the CUDA runtime.
        self._context = device.retain_primary_context()
        major, minor = device.compute_capability()
        self.device = Device(
            name=device.name(),
            compute_capability=f"{major}.{minor}",
            driver=cuda_version(driver.get_driver_version()),
            memory_bytes=device.total_memory(),
        )
        with self.current():
            streams = [driver.Stream() for _ in range(3)]
        self._streams = {int(stream.handle): stream for stream in streams}
        self.stream, self.uploads, self.downloads = self._streams
        self._allocations: dict[int, Any] = {}
        self._events: dict[int, Any] = {}

    @contextmanager
    def current(self) -> Iterator[None]:
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    def free_memory(self) -> int:
        free, _ = self._try(self._driver.mem_get_info)
        return int(free)

    def allocate(self, size: int) -> int:
        memory = self._try(self._driver.mem_alloc, size)
        self._allocations[int(memory)] = memory
        return int(memory)

    def free(self, address: int) -> None:
        self._try(self._allocations.pop(address).free)

    def allocate_pinned(self, size: int) -> np.ndarray:
        array: np.ndarray = self._try(self._driver.pagelocked_empty, size, np.uint8)
        return array

    def free_pinned(self, array: np.ndarray) -> None:
        base: Any = array.base
        self._try(base.free)

    def upload(self, address: int, array: np.ndarray, stream: int | None = None) -> None:
        self._try(self._driver.memcpy_htod_async, address, array, self._on(stream))

    def download(self, array: np.ndarray, address: int, stream: int | None = None) -> None:
        self._try(self._driver.memcpy_dtoh_async, array, address, self._on(stream))

    def copy(self, target: int, source: int, size: int) -> None:
        self._try(self._driver.memcpy_dtod_async, target, source, size, self._on(None))

    def copy_rows(self, target: int, source: int, row: int, pitch: int, rows: int, stream: int) -> None:
        copy = self._driver.Memcpy2D()
        copy.set_src_device(source)
        copy.src_pitch = pitch
        copy.set_dst_device(target)
        copy.dst_pitch = copy.width_in_bytes = row
        copy.height = rows
        self._try(copy, self._on(stream))

    def fetch(self, array: np.ndarray, address: int) -> None:
        self._try(self._driver.memcpy_dtoh, array, address)

    def gpu_of(self, address: int) -> int | None:
        # pycuda does not have this function of the driver, which it has loaded.
        index = ctypes.c_int(-1)
        place = ctypes.c_void_p(address)
        status = ctypes.CDLL(_DRIVER).cuPointerGetAttribute(ctypes.byref(index), _DEVICE_ORDINAL, place)
        return index.value if status == 0 else None

    def clear(self, address: int, size: int) -> None:
        self._try(self._driver.memset_d8_async, address, 0, size, self._on(None))

    def synchronize(self) -> None:
        self._try(self._on(None).synchronize)

    def event(self) -> int:
        event = self._try(self._driver.Event, self._driver.event_flags.DISABLE_TIMING)
        self._events[id(event)] = event
        return id(event)

    def record(self, event: int, stream: int) -> None:
        if stream not in self._streams:
            # pycuda has no streams of other libraries. Waiting for the whole GPU includes them.
            self._try(self._driver.Context.synchronize)
            stream = self.stream
        self._try(self._events[event].record, self._on(stream))

    def wait(self, stream: int, event: int) -> None:
        self._try(self._on(stream).wait_for_event, self._events[event])

    def wait_for(self, event: int) -> None:
        self._try(self._events[event].synchronize)

    def free_event(self, event: int) -> None:
        del self._events[event]

    def begin_recording(self) -> None:
        raise BackendError(_NO_GRAPHS)

    def end_recording(self, host_allowed: bool = True) -> int:
        raise BackendError(_NO_GRAPHS)

    def launch(self, graph: int) -> None:
        raise BackendError(_NO_GRAPHS)

    def free_graph(self, graph: int) -> None:
        raise BackendError(_NO_GRAPHS)

    def close(self) -> None:
        self._streams.clear()

    def _on(self, stream: int | None) -> Any:
        return self._streams[self.stream if stream is None else stream]

    def _try(self, function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self._driver.MemoryError as error:
            raise out_of_memory(f"CUDA: {error}") from error
        except self._driver.Error as error:
            raise BackendError(f"CUDA: {error}") from error

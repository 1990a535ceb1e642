"""A GPU as the runtime uses it: memory, copies, streams, events and recorded graphs.

It goes through cuda-python or pycuda, whichever is installed. cuda-python comes first, since pycuda has no
CUDA graphs.
"""

from __future__ import annotations

import importlib
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..errors import BackendError, DeviceMemoryError
from .registry import resolve

_INSTALL = "pip install cuda-python (or pycuda)"
# Module of a package -> what opens a GPU through it.
_PACKAGES = {
    "cuda.bindings.runtime": "odise_trt.backends.cuda_python:open_cuda_python",
    "pycuda.driver": "odise_trt.backends.cuda_pycuda:open_pycuda",
}
#: What to do without a driver, and when memory runs out.
NO_DRIVER = "install NVIDIA's driver, or use a bundle for the backend onnxruntime"
LESS_MEMORY = "close what else uses the GPU, take a smaller picture, or open with max_windows=1"


@dataclass(frozen=True)
class Device:
    """A GPU.

    Attributes:
        name: NVIDIA's name for it.
        compute_capability: for example "8.9".
        driver: the newest CUDA version that its driver supports, for example "13.0".
        memory_bytes: total memory in bytes.
    """

    name: str
    compute_capability: str
    driver: str
    memory_bytes: int


class Cuda(Protocol):
    """One GPU and three streams on it. Addresses and handles are plain integers, sizes are in bytes.

    CUDA has a current GPU per thread. The host program may change it between two calls. So every method
    below, and any other work on this GPU, must be called within `current`.

    Work on one stream runs in order. Work on two streams runs in any order, unless one waits for an event
    that was recorded on the other.
    """

    device: Device
    #: Its index among the GPUs that CUDA sees.
    index: int
    #: Handle of the stream that engines run on.
    stream: int
    #: Handles of two streams for copies that overlap with the engines.
    uploads: int
    downloads: int
    #: The package that this goes through.
    through: str
    #: Whether work can be recorded into CUDA graphs.
    can_record: bool

    def current(self) -> AbstractContextManager[None]:
        """Make this the thread's current GPU inside the block. Restore the former one afterwards."""
        ...

    def free_memory(self) -> int:
        """Return the bytes of device memory that nobody has allocated."""
        ...

    def allocate(self, size: int) -> int:
        """Allocate device memory, aligned to at least 256 bytes, and return its address.

        Raises:
            DeviceMemoryError: the device has too little memory.
        """
        ...

    def free(self, address: int) -> None:
        """Free device memory. No queued work may use it."""
        ...

    def allocate_pinned(self, size: int) -> np.ndarray:
        """Allocate host memory that the device copies without a detour, uint8 (size,)."""
        ...

    def free_pinned(self, array: np.ndarray) -> None:
        """Free what `allocate_pinned` returned. No queued work may use it."""
        ...

    def upload(self, address: int, array: np.ndarray, stream: int | None = None) -> None:
        """Copy a contiguous array to the device. It must not change before the copy has run.

        Args:
            address: where it goes.
            array: of pinned memory, if the call shall not wait for the copy.
            stream: None: `stream`, in order with the engines.
        """
        ...

    def download(self, array: np.ndarray, address: int, stream: int | None = None) -> None:
        """Copy from the device into a contiguous array. It is filled when the copy has run, see `upload`."""
        ...

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy within the device, in order with the engines."""
        ...

    def copy_rows(self, target: int, source: int, row: int, pitch: int, rows: int, stream: int) -> None:
        """Copy rows within the device, on a stream. They follow each other without a gap at the target.

        Args:
            target, source: addresses.
            row: bytes of a row.
            pitch: bytes from one row to the next at the source.
            rows: their number.
            stream: a stream of this object.
        """
        ...

    def fetch(self, array: np.ndarray, address: int) -> None:
        """Copy from the device into a contiguous array, and wait for it. Also possible after `close`."""
        ...

    def gpu_of(self, address: int) -> int | None:
        """Return the index of the GPU whose memory this is. None: it is no memory of a GPU."""
        ...

    def clear(self, address: int, size: int) -> None:
        """Fill device memory with zeros, in order with the engines."""
        ...

    def synchronize(self) -> None:
        """Wait for the stream of the engines. Errors of earlier work on it are raised here."""
        ...

    def event(self) -> int:
        """Make an event."""
        ...

    def record(self, event: int, stream: int) -> None:
        """Let the event happen when the work that the stream has now is done.

        `stream` can also be one of another library, as the CUDA array interface names it: 1 is the legacy
        default stream, 2 the thread's own, anything else a handle.
        """
        ...

    def wait(self, stream: int, event: int) -> None:
        """Let the stream wait for an event that was recorded. The call does not wait."""
        ...

    def wait_for(self, event: int) -> None:
        """Wait until the event has happened. Errors of earlier work are raised here."""
        ...

    def free_event(self, event: int) -> None:
        """Free an event."""
        ...

    def begin_recording(self) -> None:
        """Record what is queued on `stream` from now on, instead of running it."""
        ...

    def end_recording(self, host_allowed: bool = True) -> int:
        """Return the handle of what was recorded.

        Args:
            host_allowed: whether copies from the host, and functions that it runs, may be part of it.

        Raises:
            BackendError: something was queued that cannot be recorded. The stream can be used again.
        """
        ...

    def launch(self, graph: int) -> None:
        """Queue a recorded graph on `stream`."""
        ...

    def free_graph(self, graph: int) -> None:
        """Free a recorded graph. It must not be queued."""
        ...

    def close(self) -> None:
        """Free the streams."""
        ...


class Buffer:
    """Device memory that is reused. It grows when a call needs more."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._size = 0
        self._address = 0

    @property
    def size(self) -> int:
        """Its bytes."""
        return self._size

    def reserve(self, size: int) -> int:
        """Return the address of at least `size` bytes. When it grows, addresses from earlier calls end.

        Raises:
            DeviceMemoryError: the device has too little memory. The buffer is empty then.
        """
        if size > self._size:
            if self._size:
                # Queued work may still use the old memory.
                self._cuda.synchronize()
            self.close()
            self._address = self._cuda.allocate(size)
            self._size = size
        return self._address

    def close(self) -> None:
        """Free the memory, which no queued work may use. The buffer can be used again."""
        if self._size:
            self._cuda.free(self._address)
        self._size = self._address = 0


def device_index(device: str) -> int:
    """`"cuda"` -> 0, `"cuda:1"` -> 1.

    Raises:
        BackendError: `device` has another form.
    """
    match = re.fullmatch(r"cuda(?::(\d+))?", device)
    if match is None:
        raise BackendError(f"there is no device {device!r}", 'devices: "cpu", "cuda", "cuda:1", ...')
    return int(match[1] or 0)


def is_installed() -> bool:
    """Whether cuda-python or pycuda can be imported."""
    for module in _PACKAGES:
        try:
            importlib.import_module(module)
        except ImportError:
            continue
        return True
    return False


def open_cuda(index: int = 0) -> Cuda:
    """Open a GPU through cuda-python, or through pycuda if cuda-python is not installed.

    Raises:
        BackendError: neither is installed, there is no such GPU, or there is no driver for it.
    """
    for module, opens in _PACKAGES.items():
        try:
            found = importlib.import_module(module)
        except ImportError:
            continue
        opened: Cuda = resolve(opens)(found, index)
        return opened
    raise BackendError("GPU backends need cuda-python or pycuda, and neither is installed", _INSTALL)


def check_gpu(index: int, count: int) -> None:
    """Raise BackendError unless CUDA sees a GPU of this index."""
    if index >= count:
        raise BackendError(f"there is no GPU {index}: CUDA sees {count}", NO_DRIVER if count == 0 else None)


def cuda_version(number: int) -> str:
    """Return CUDA's version number as text: 13020 -> "13.2"."""
    return f"{number // 1000}.{number % 1000 // 10}"


def out_of_memory(message: str) -> DeviceMemoryError:
    """Return the error for a device whose memory is used up."""
    return DeviceMemoryError(message, LESS_MEMORY)

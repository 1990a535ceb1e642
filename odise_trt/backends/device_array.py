"""An array in the memory of a GPU that other libraries can take as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import exchange

if TYPE_CHECKING:
    from .cuda import Cuda


class DeviceArray:
    """An array in the memory of a GPU. Its content is there: no stream has to be waited for.

    torch, CuPy and others take it without a copy: `torch.from_dlpack(array)`, `cupy.from_dlpack(array)`, or
    by `__cuda_array_interface__`. numpy gets a copy: `numpy.asarray(array)`.

    The memory is freed when the array is gone, and all that was made of it.

    Attributes:
        address: its first byte.
        dtype: "int32" or "uint8".
        shape: its sizes.
        pitch: bytes from one row, that is one index of the first dimension, to the next. Rows are contiguous.
    """

    def __init__(
        self,
        cuda: Cuda,
        address: int,
        dtype: str,
        shape: tuple[int, ...],
        pitch: int | None = None,
        owner: object = None,
    ) -> None:
        """Describe an array.

        Args:
            cuda: its GPU.
            address, dtype, shape: see the class.
            pitch: None: rows follow each other without a gap.
            owner: keeps the memory.
        """
        self.address, self.dtype, self.shape = address, dtype, shape
        self._cuda, self._owner = cuda, owner
        self._row = int(np.prod(shape[1:])) * np.dtype(dtype).itemsize
        self.pitch = self._row if pitch is None else pitch

    @property
    def ndim(self) -> int:
        """The number of its dimensions."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes of its elements."""
        return self.shape[0] * self._row

    @property
    def device(self) -> str:
        """Its GPU, for example "cuda:0"."""
        return f"cuda:{self._cuda.index}"

    def copy_to(self, address: int, stream: int) -> None:
        """Queue a copy to contiguous memory of the same GPU. The array must live until it has run."""
        self._cuda.copy_rows(address, self.address, self._row, self.pitch, self.shape[0], stream)

    def copy_to_host(self) -> np.ndarray:
        """Return a copy as an array of the host.

        Raises:
            BackendError: the GPU failed.
        """
        whole = np.empty((self.shape[0] - 1) * self.pitch + self._row, np.uint8)
        with self._cuda.current():
            self._cuda.fetch(whole, self.address)
        inner = np.empty((1, *self.shape[1:]), self.dtype).strides[1:]
        view = np.lib.stride_tricks.as_strided(whole.view(self.dtype), self.shape, (self.pitch, *inner))
        return np.ascontiguousarray(view)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("an array of the GPU gets to the host by a copy only")
        array = self.copy_to_host()
        return array if dtype is None else array.astype(dtype, copy=False)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """The array by CUDA's array interface, version 3."""
        strides = np.empty((1, *self.shape[1:]), self.dtype).strides[1:]
        return {
            "shape": self.shape,
            "typestr": np.dtype(self.dtype).str,
            "data": (self.address, False),
            "strides": None if self.pitch == self._row else (self.pitch, *strides),
            "version": 3,
            "stream": None,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return DLPack's number of CUDA's memory, and the index of the GPU."""
        return exchange.CUDA, self._cuda.index

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Return the array as a DLPack capsule. No stream needs to wait: the content is there.

        Raises:
            BufferError: a copy or another device is requested, or its rows do not follow each other.
        """
        if copy:
            raise BufferError("this array is exchanged without a copy")
        if dl_device is not None and tuple(map(int, dl_device)) != self.__dlpack_device__():
            raise BufferError(f"this array is on {self.device}, another device is requested")
        if self.pitch != self._row:
            raise BufferError("this array has gaps between its rows")
        return exchange.capsule_of(self.address, self.dtype, self.shape, self.__dlpack_device__(), self)

    def __repr__(self) -> str:
        return f"DeviceArray({self.dtype} {self.shape} on {self.device})"

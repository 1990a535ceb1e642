"""Arrays by DLPack and by CUDA's array interface, with real libraries at the other end."""

from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from odise_trt.backends import exchange
from odise_trt.backends.device_array import DeviceArray
from tests.stand_in.host import HostMemory

CPU = (1, 0)


class OnHost:
    """An array at an address of this process, exchanged as those of a GPU are."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack_device__(self) -> tuple[int, int]:
        return CPU

    def __dlpack__(self, **options: Any) -> Any:
        array = self.array
        return exchange.capsule_of(array.ctypes.data, str(array.dtype), array.shape, CPU, self)


@pytest.fixture(autouse=True)
def _nothing_is_held() -> Any:
    yield
    gc.collect()
    assert not exchange._held


@pytest.mark.parametrize("dtype", ["int32", "uint8", "float32", "int64"])
def test_torch_and_numpy_take_a_capsule_and_free_it(dtype: str) -> None:
    array = np.arange(12, dtype=dtype).reshape(3, 4)
    tensor = torch.from_dlpack(OnHost(array))
    view = np.from_dlpack(OnHost(array))
    assert len(exchange._held) == 2
    np.testing.assert_array_equal(tensor.numpy(), array)
    np.testing.assert_array_equal(view, array)
    assert tensor.data_ptr() == array.ctypes.data
    tensor[0, 0] = 7
    assert array[0, 0] == view[0, 0] == 7
    del tensor, view
    gc.collect()
    assert not exchange._held


def test_a_capsule_that_nobody_takes_is_freed_with_its_owner() -> None:
    owner = SimpleNamespace()
    capsule = exchange.capsule_of(4096, "int32", (2, 3), (2, 0), owner)
    assert len(exchange._held) == 1
    del capsule
    assert not exchange._held


def test_a_tensor_of_torch_is_read_where_it_is_with_its_strides() -> None:
    tensor = torch.zeros((3, 4, 5), dtype=torch.uint8)[1:].permute(1, 2, 0)
    found = exchange._from_capsule(tensor.__dlpack__(), tensor)
    assert found.address == tensor.data_ptr()
    assert (found.dtype, found.shape, found.strides) == ("uint8", (4, 5, 2), (5, 1, 20))
    assert exchange._from_capsule(torch.zeros(2, 3).__dlpack__(), None).strides == (12, 4)
    assert exchange._from_capsule(torch.zeros(2, dtype=torch.bfloat16).__dlpack__(), None).dtype == "bfloat16"


def test_a_capsule_of_another_kind_is_refused() -> None:
    capsule = np.zeros(3).__dlpack__(max_version=(1, 0))
    with pytest.raises(BufferError, match="no capsule of the kind dltensor"):
        exchange._from_capsule(capsule, None)


def test_only_arrays_in_the_memory_of_a_gpu_are_there() -> None:
    assert not exchange.is_on_gpu(np.zeros(3))
    assert not exchange.is_on_gpu(torch.zeros(3))
    assert not exchange.is_on_gpu(torch.zeros(3, device="meta"))
    assert not exchange.is_on_gpu("photo.jpg")
    assert exchange.gpu_of(SimpleNamespace(__cuda_array_interface__={})) is None
    assert exchange.is_on_gpu(SimpleNamespace(__cuda_array_interface__={}))
    for kind, there in ((1, False), (2, True), (3, False), (13, True)):
        array = SimpleNamespace(__dlpack__=None, __dlpack_device__=lambda kind=kind: (kind, 0))
        assert exchange.is_on_gpu(array) == there


def test_an_interface_that_lacks_something_is_refused() -> None:
    for interface in (None, {}, {"shape": (1,), "typestr": "|u1"}):
        with pytest.raises(BufferError, match="lacks shape, typestr or data"):
            exchange.take(SimpleNamespace(__cuda_array_interface__=interface), 5)


@pytest.mark.parametrize("gap", [0, 8])
def test_a_device_array_describes_itself_and_is_copied_with_and_without_gaps(gap: int) -> None:
    memory = HostMemory()
    rows = np.arange(6 * (12 + gap), dtype=np.uint8).reshape(6, 12 + gap)
    array = DeviceArray(memory, rows.ctypes.data, "uint8", (6, 4, 3), 12 + gap, owner=rows)
    np.testing.assert_array_equal(np.asarray(array), rows[:, :12].reshape(6, 4, 3))
    assert np.asarray(array, dtype=np.int64).dtype == np.int64
    assert (array.nbytes, array.ndim, array.device) == (72, 3, "cuda:0")
    assert repr(array) == "DeviceArray(uint8 (6, 4, 3) on cuda:0)"
    interface = array.__cuda_array_interface__
    assert interface["data"] == (rows.ctypes.data, False)
    assert interface["strides"] == (None if gap == 0 else (12 + gap, 3, 1))
    found = exchange.take(SimpleNamespace(__cuda_array_interface__=interface), 5)
    assert (found.address, found.dtype, found.strides) == (rows.ctypes.data, "uint8", (12 + gap, 3, 1))
    with pytest.raises(ValueError, match="by a copy only"):
        np.array(array, copy=False)
    if gap:
        with pytest.raises(BufferError, match="gaps between its rows"):
            array.__dlpack__()


def test_a_device_array_is_exchanged_on_its_gpu_only_and_without_a_copy() -> None:
    array = DeviceArray(HostMemory(), 4096, "int32", (2, 3))
    assert array.__dlpack_device__() == (2, 0)
    found = exchange.take(array, 5)
    assert (found.address, found.dtype, found.shape) == (4096, "int32", (2, 3))
    assert exchange.gpu_of(array) == 0
    assert array.__dlpack__(stream=1, max_version=(1, 1), dl_device=(2, 0)) is not None
    with pytest.raises(BufferError, match="without a copy"):
        array.__dlpack__(copy=True)
    with pytest.raises(BufferError, match="another device"):
        array.__dlpack__(dl_device=CPU)

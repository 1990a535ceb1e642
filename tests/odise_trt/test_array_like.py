"""Pictures in arrays of other libraries: taken without a copy, or refused with the way out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from odise_trt import ImageError
from odise_trt.preprocess import load_image

PIXELS = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)


class Interface:
    """An array of a library that has `__array_interface__`."""

    def __init__(self, array: np.ndarray) -> None:
        self.__array_interface__ = array.__array_interface__
        self._array = array


class Exchanged:
    """An array that is exchanged by DLPack, on a device of that number."""

    def __init__(self, array: np.ndarray, device: int = 1) -> None:
        self._array, self._device = array, device

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device, 0


@pytest.mark.parametrize("kind", [Interface, Exchanged])
def test_an_array_of_another_library_is_a_picture_without_a_copy(kind: Any) -> None:
    pixels = PIXELS.copy()
    found = load_image(kind(pixels))
    assert np.array_equal(found, PIXELS)
    assert np.shares_memory(found, pixels)


def test_a_tensor_is_a_picture_without_a_copy() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(PIXELS.copy())
    found = load_image(tensor)
    assert np.array_equal(found, PIXELS)
    assert np.shares_memory(found, tensor.numpy())
    assert load_image(tensor[:, :, 0]).shape == (4, 5, 3)


def test_a_tensor_of_another_order_is_made_contiguous() -> None:
    torch = pytest.importorskip("torch")
    found = load_image(torch.from_numpy(PIXELS.transpose(2, 0, 1).copy()).permute(1, 2, 0))
    assert np.array_equal(found, PIXELS)
    assert found.flags.c_contiguous


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("torch.zeros(3, 4, 5, dtype=torch.uint8)", "this torch.Tensor is uint8 (3, 4, 5)"),
        ("torch.zeros(2, 4, 5, 3, dtype=torch.uint8)", "segmenter.stream(tensor)"),
        ("torch.zeros(4, 5, 3)", "this torch.Tensor is float32 (4, 5, 3)"),
        ("torch.zeros(4, 5, 3, requires_grad=True)", "detach()"),
        ("torch.zeros(4, 5, 3, dtype=torch.bfloat16)", "cannot be shared with numpy"),
        ("torch.zeros(4, 5, 3, device='meta')", "torch.Tensor"),
        ("torch.zeros(4, 0, 3, dtype=torch.uint8)", "uint8 (H, W, 3)"),
    ],
)
def test_a_tensor_that_is_no_picture_says_why(expression: str, says: str) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(ImageError) as caught:
        load_image(eval(expression, {"torch": torch}))
    assert says in str(caught.value)


def test_the_hint_for_planes_makes_a_picture() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.zeros(3, 4, 5, dtype=torch.uint8)
    with pytest.raises(ImageError) as caught:
        load_image(tensor)
    assert load_image(eval(str(caught.value.hint).partition(": ")[2], {"tensor": tensor})).shape == (4, 5, 3)


@pytest.mark.parametrize("number", [2, 10, 13])
def test_an_array_on_a_gpu_says_how_it_gets_to_the_cpu(number: int) -> None:
    with pytest.raises(ImageError, match=r"Exchanged is on the GPU\n  copy it: \.cpu\(\) in torch"):
        load_image(Exchanged(PIXELS, number))


def test_an_array_of_cuda_alone_is_on_the_gpu() -> None:
    array: Any = SimpleNamespace(__cuda_array_interface__={})
    with pytest.raises(ImageError, match="SimpleNamespace is on the GPU"):
        load_image(array)


def test_an_interface_that_is_wrong_is_refused() -> None:
    array: Any = SimpleNamespace(__array_interface__={"shape": "wrong"})
    with pytest.raises(ImageError, match="cannot be shared with numpy"):
        load_image(array)


@pytest.mark.parametrize("kind", [Interface, Exchanged])
def test_shapes_and_dtypes_are_checked_as_those_of_arrays(kind: Any) -> None:
    with pytest.raises(ImageError, match="must be uint8, this one is float64"):
        load_image(kind(PIXELS.astype(float)))
    with pytest.raises(ImageError, match="transpose it"):
        load_image(kind(np.zeros((3, 40, 50), np.uint8)))

"""Pictures in arrays of other libraries, such as torch. They are seen where they are: nothing is copied."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ..errors import ImageError
from .source import array_of

#: Devices of DLPack whose memory the CPU can read: its own, and that pinned by CUDA or ROCm.
_OF_THE_CPU = (1, 3, 11)
_TENSOR = "for (3, H, W) in [0, 1]: tensor.mul(255).round().byte().permute(1, 2, 0).cpu().numpy()"


class DLPackArray(Protocol):
    """An array that can be exchanged by DLPack (data-apis.org/array-api): of torch, JAX, CuPy."""

    def __dlpack__(self, *, stream: Any = None) -> Any: ...

    def __dlpack_device__(self) -> tuple[Any, Any]: ...


class InterfaceArray(Protocol):
    """An array that describes its memory by numpy's `__array_interface__`."""

    @property
    def __array_interface__(self) -> Any: ...


class CudaArray(Protocol):
    """An array that describes memory of a GPU by `__cuda_array_interface__`."""

    @property
    def __cuda_array_interface__(self) -> Any: ...


def pixels_of(source: object) -> np.ndarray | None:
    """Return the pixels of an array of another library, uint8 (H, W, 3). None: it is no array.

    Raises:
        ImageError: it is on a GPU, cannot be shared, or has another dtype or shape.
    """
    kind = f"{type(source).__module__}.{type(source).__name__}"
    try:
        array = _view(source, kind)
    # What libraries raise if they cannot share: torch a BufferError or RuntimeError, numpy the others.
    except (BufferError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise ImageError(f"the {kind} cannot be shared with numpy: {why}", "make it a numpy array") from error
    if array is None:
        return None
    try:
        return array_of(array)
    except ImageError as error:
        if kind.startswith("torch."):
            found = f"this {kind} is {array.dtype} {array.shape}"
            raise ImageError(f"an image must be uint8 (H, W, 3), {found}", _hint(array)) from error
        raise


def _view(source: Any, kind: str) -> np.ndarray | None:
    if hasattr(source, "__array_interface__"):
        return np.asarray(source)
    shared = hasattr(source, "__dlpack__") and hasattr(source, "__dlpack_device__")
    if (shared and int(source.__dlpack_device__()[0]) not in _OF_THE_CPU) or (
        not shared and hasattr(source, "__cuda_array_interface__")
    ):
        raise ImageError(f"the {kind} is on the GPU", "copy it: .cpu() in torch, .get() in CuPy")
    return np.from_dlpack(source) if shared else None


def _hint(array: np.ndarray) -> str:
    if array.dtype != np.uint8:
        return _TENSOR
    if array.ndim == 4:
        return "one image at a time: segmenter.stream(tensor) takes uint8 (N, H, W, 3)"
    return "if it is (3, H, W): tensor.permute(1, 2, 0)"

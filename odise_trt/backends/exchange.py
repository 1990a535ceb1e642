"""Arrays in the memory of a GPU, exchanged with other libraries: DLPack, and CUDA's array interface.

Sources: dmlc.github.io/dlpack/latest/python_spec.html, and version 3 of the CUDA array interface
(numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html). An array that offers both is taken by DLPack:
torch's interface does not name the stream that its content is made on.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from typing import Any

#: DLPack's numbers of devices: memory of a GPU, and memory that CUDA moves between GPU and host.
CUDA, CUDA_MANAGED = 2, 13
_NAME, _CODES = b"dltensor", {0: "int", 1: "uint", 2: "float", 4: "bfloat", 6: "bool"}
_KINDS = {"i": "int", "u": "uint", "f": "float", "b": "bool"}


class _Tensor(ctypes.Structure):
    """`DLTensor`, its device and its dtype written out."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    """`DLManagedTensor`."""

    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


@dataclass(frozen=True, eq=False)
class Exchanged:
    """An array of another library, where it is.

    Attributes:
        address: its first byte.
        dtype: such as "uint8" or "float32".
        shape, strides: sizes, and bytes from one element to the next along each dimension.
        stream: a stream whose work must be waited for. None: there is nothing to wait for.
        owner: keeps the memory.
    """

    address: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    stream: int | None
    owner: object


def is_on_gpu(source: Any) -> bool:
    """Whether this is an array in the memory of a GPU that can be exchanged."""
    if hasattr(source, "__dlpack__") and hasattr(source, "__dlpack_device__"):
        try:
            return int(source.__dlpack_device__()[0]) in (CUDA, CUDA_MANAGED)
        # What libraries raise for an array that cannot be exchanged.
        except (BufferError, RuntimeError, TypeError, ValueError):
            return False
    return hasattr(source, "__cuda_array_interface__") and not hasattr(source, "__array_interface__")


def gpu_of(source: Any) -> int | None:
    """Return the index of the GPU of an array for which `is_on_gpu` holds. None: it does not say."""
    return int(source.__dlpack_device__()[1]) if hasattr(source, "__dlpack_device__") else None


def take(source: Any, stream: int) -> Exchanged:
    """Return where an array is, for which `is_on_gpu` holds.

    Args:
        source: the array.
        stream: handle of the stream that will read it, on the array's GPU. With DLPack, the other library
            lets this stream wait until the content is there. Otherwise the reader has to wait for
            `Exchanged.stream`.

    Raises:
        BufferError: the array cannot be exchanged.
        RuntimeError, TypeError, ValueError: from the other library, for the same reason.
    """
    if hasattr(source, "__dlpack__") and hasattr(source, "__dlpack_device__"):
        return _from_capsule(source.__dlpack__(stream=stream), source)
    return _from_interface(source.__cuda_array_interface__, source)


def capsule_of(
    address: int, dtype: str, shape: tuple[int, ...], device: tuple[int, int], owner: object
) -> Any:
    """Return a contiguous array as a DLPack capsule "dltensor".

    Args:
        address: its first byte.
        dtype: such as "int32".
        shape: its sizes.
        device: DLPack's number of the kind of device, and its index.
        owner: keeps the memory. It is held until the one who takes the capsule frees the array.
    """
    kind, bits = _split(dtype)
    code = next(number for number, name in _CODES.items() if name == kind)
    sizes = ctypes.c_int64 * len(shape)
    dimensions = sizes(*shape), sizes(*_contiguous(shape, 1))
    managed = _Managed(
        _Tensor(address, *device, len(shape), code, bits, 1, *dimensions, 0), None, _deleter_address
    )
    place = ctypes.addressof(managed)
    _held[place] = (managed, dimensions, owner)
    return _new_capsule(place, _NAME, _destructor_address)


def _from_capsule(capsule: Any, source: object) -> Exchanged:
    if not _is_valid(id(capsule), _NAME):
        raise BufferError("its __dlpack__ gave no capsule of the kind dltensor")
    one = ctypes.cast(_pointer_of(id(capsule), _NAME), ctypes.POINTER(_Managed)).contents.tensor
    shape = tuple(one.shape[: one.ndim])
    item = one.bits * one.lanes // 8
    steps = tuple(step * item for step in one.strides[: one.ndim]) if one.strides else None
    return Exchanged(
        address=(one.data or 0) + one.byte_offset,
        dtype=f"{_CODES.get(one.code, 'kind ' + str(one.code) + ' ')}{one.bits * one.lanes}",
        shape=shape,
        strides=_contiguous(shape, item) if steps is None else steps,
        stream=None,
        # A capsule that nobody renames frees its array when it goes.
        owner=(capsule, source),
    )


def _from_interface(interface: Any, source: object) -> Exchanged:
    if not isinstance(interface, dict) or not {"shape", "typestr", "data"} <= interface.keys():
        raise BufferError("its __cuda_array_interface__ lacks shape, typestr or data")
    if interface.get("mask") is not None:
        raise BufferError("it is a masked array")
    stream = interface.get("stream")
    if stream == 0:
        raise BufferError("its __cuda_array_interface__ names the stream 0, which the interface excludes")
    shape = tuple(int(size) for size in interface["shape"])
    found = re.fullmatch(r"[<>|=]?([a-zA-Z])(\d+)", str(interface["typestr"]))
    if found is None:
        raise BufferError(f"its type is {interface['typestr']!r:.40}")
    item = int(found[2])
    strides = interface.get("strides")
    return Exchanged(
        address=int(interface["data"][0] or 0),
        dtype=f"{_KINDS.get(found[1], found[1])}{8 * item}",
        shape=shape,
        strides=_contiguous(shape, item) if strides is None else tuple(int(step) for step in strides),
        stream=None if stream is None else int(stream),
        owner=source,
    )


def _split(dtype: str) -> tuple[str, int]:
    kind = dtype.rstrip("0123456789")
    return kind, int(dtype[len(kind) :])


def _contiguous(shape: tuple[int, ...], item: int) -> tuple[int, ...]:
    strides = []
    for size in reversed(shape):
        strides.append(item)
        item *= size
    return tuple(reversed(strides))


# Of a capsule only the address is passed: an object that is being destroyed must not get new references.
_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.restype = ctypes.c_int
_is_valid.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype = ctypes.c_void_p
_pointer_of.argtypes = (ctypes.c_void_p, ctypes.c_char_p)

#: Address of a managed tensor -> what it needs until its deleter is called.
_held: dict[int, tuple[Any, Any, object]] = {}


def _delete(place: int) -> None:
    """Free an array, as the one who took it asks for."""
    _held.pop(place, None)


def _destroy(capsule: int) -> None:
    """Free an array whose capsule goes before anybody took it. Whoever takes one renames it."""
    if _is_valid(capsule, _NAME):
        _held.pop(_pointer_of(capsule, _NAME), None)


# Other libraries may call these at the very end of the process. So nobody frees them.
_callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_deleter, _destructor = _callback(_delete), _callback(_destroy)
for _kept in (_deleter, _destructor):
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_kept))
_deleter_address = ctypes.cast(_deleter, ctypes.c_void_p).value
_destructor_address = ctypes.cast(_destructor, ctypes.c_void_p).value

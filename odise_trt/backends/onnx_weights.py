"""Where the weights of an ONNX file lie, read without a package for ONNX, and mapped into memory.

ONNX keeps the weights of a large graph in files beside it ("external data"). The runtime maps these files
itself, once for all stages of a bundle. Two stages that read the same weights then share them, and the system
can take the memory back while no stage reads it.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BackendError, reason

#: Field numbers of onnx.proto: a model's graph, a graph's initializers, and the parts of a tensor.
_GRAPH, _INITIALIZER = 7, 5
_DIMS, _DTYPE, _NAME, _ENTRY, _LOCATION = 1, 2, 8, 13, 14
_KEY, _VALUE = 1, 2
_EXTERNAL = 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("float32"),
    2: np.dtype("uint8"),
    7: np.dtype("int64"),
    10: np.dtype("float16"),
}


@dataclass(frozen=True)
class Weight:
    """A tensor of a graph whose numbers lie in another file.

    Attributes:
        name: its name in the graph.
        file: name of the file, beside the graph.
        offset, length: its place in the file, in bytes.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    file: str
    offset: int
    length: int


def weights_of(path: Path) -> list[Weight]:
    """Return the tensors of an ONNX graph that lie in other files, in the order of the graph.

    Raises:
        BackendError: the file cannot be read, or is no ONNX model.
    """
    try:
        content = memoryview(path.read_bytes())
    except OSError as error:
        raise BackendError(f"{path} cannot be read: {reason(error)}") from error
    try:
        return [
            weight
            for number, graph in _fields(content)
            if number == _GRAPH and isinstance(graph, memoryview)
            for kind, tensor in _fields(graph)
            if kind == _INITIALIZER and isinstance(tensor, memoryview)
            if (weight := _weight(tensor)) is not None
        ]
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise BackendError(f"{path} is no ONNX model: {error}", "build the stage again") from error


@dataclass
class MappedFiles:
    """Files of weights in a folder, each mapped once, read only."""

    folder: Path
    _maps: dict[str, mmap.mmap] = field(default_factory=dict)

    def array(self, weight: Weight) -> np.ndarray:
        """Return a weight as an array. Its memory is the file's.

        Raises:
            BackendError: the file is missing or too short.
        """
        return np.frombuffer(self.bytes(weight), weight.dtype).reshape(weight.shape)

    def bytes(self, weight: Weight) -> memoryview:
        """Return the bytes of a weight, as `array`."""
        content = self._file(weight.file)
        if weight.offset + weight.length > len(content):
            raise BackendError(
                f"{self.folder / weight.file} ends before the weight {weight.name}", "build the stage again"
            )
        return memoryview(content)[weight.offset : weight.offset + weight.length]

    def release(self, files: set[str]) -> None:
        """Give the memory of files back to the system. It reads them again when they are needed.

        Where the system has no such call, nothing happens: it takes the memory when it is short of it.
        """
        for name in files & self._maps.keys():
            if hasattr(mmap, "MADV_DONTNEED"):
                self._maps[name].madvise(mmap.MADV_DONTNEED)

    def _file(self, name: str) -> mmap.mmap:
        if name not in self._maps:
            path = self.folder / name
            try:
                with path.open("rb") as file:
                    self._maps[name] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:  # ValueError: an empty file
                raise BackendError(f"{path} cannot be read: {error}", "build the stage again") from error
        return self._maps[name]


def _weight(tensor: memoryview) -> Weight | None:
    dims: list[int] = []
    dtype, name, external = 0, "", False
    entries: dict[str, str] = {}
    for number, value in _fields(tensor):
        if number == _DIMS:
            # Repeated numbers come one by one, or packed into one field.
            dims += [value] if isinstance(value, int) else list(_varints(value))
        elif number == _DTYPE and isinstance(value, int):
            dtype = value
        elif number == _LOCATION:
            external = value == _EXTERNAL
        elif number == _NAME and not isinstance(value, int):
            name = str(value, "utf-8")
        elif number == _ENTRY and not isinstance(value, int):
            pair = {part: str(text, "utf-8") for part, text in _fields(value) if not isinstance(text, int)}
            entries[pair[_KEY]] = pair[_VALUE]
    if not external:
        return None
    kind, shape = _DTYPES[dtype], tuple(dims)
    length = math.prod(shape) * kind.itemsize
    if int(entries.get("length", length)) != length:
        raise ValueError(f"{name} has {entries['length']} bytes, its shape needs {length}")
    return Weight(name, kind, shape, entries["location"], int(entries.get("offset", 0)), length)


def _fields(content: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield field numbers and values of a protobuf message. Values of fixed width are left out."""
    place = 0
    while place < len(content):
        key, place = _varint(content, place)
        kind = key & 7
        if kind == _VARINT:
            value, place = _varint(content, place)
            yield key >> 3, value
        elif kind == _BYTES:
            length, place = _varint(content, place)
            if place + length > len(content):
                raise ValueError("a field goes beyond the end of the file")
            yield key >> 3, content[place : place + length]
            place += length
        elif kind in (_FIXED64, _FIXED32):
            place += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"a field is of the unknown kind {kind}")


def _varints(content: memoryview) -> Iterator[int]:
    place = 0
    while place < len(content):
        value, place = _varint(content, place)
        yield value


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")

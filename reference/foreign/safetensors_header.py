"""Checks the header of a safetensors file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch

from odise_trt.errors import WeightsError
from reference.foreign.refusal import AGAIN, damaged, quoted, unusual
from reference.weights.stream import TYPES

_MOST_HEADER = 16_000_000
#: Characters of JSON that make objects in memory, which are larger than their text.
_MOST_OBJECTS = 300_000
_MOST_DIMENSIONS = 16
_METADATA = "__metadata__"


@dataclass(frozen=True)
class Entry:
    """What a header says of a tensor. `begin` and `end` are bytes after the header."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(path: Path) -> tuple[dict[str, Entry], dict[str, str]]:
    """Read and check the header of a safetensors file. Return its tensors by name, and its strings.

    Raises:
        WeightsError: it is cut off or damaged, or lies about a tensor.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        length = int.from_bytes(file.read(8), "little")
        if length > _MOST_HEADER:
            raise unusual(path, f"its header claims {length} bytes")
        text = file.read(length)
    if len(text) < length:
        raise WeightsError(f"{path} is cut off: {size} bytes, its header alone has {8 + length}", AGAIN)
    try:
        return _checked(path, _parsed(path, text), size - 8 - length)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise damaged(path, f"its header is not as safetensors writes it ({type(error).__name__})") from error


def _parsed(path: Path, text: bytes) -> dict[str, Any]:
    if sum(text.count(letter) for letter in (b"{", b"[", b",")) > _MOST_OBJECTS:
        raise unusual(path, "its header describes more tensors than any model has")
    return json.loads(text.decode(), object_pairs_hook=_without_duplicates)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _checked(path: Path, header: dict[str, Any], size: int) -> tuple[dict[str, Entry], dict[str, str]]:
    metadata = header.pop(_METADATA, {})
    if not all(type(value) is str for value in metadata.values()):
        raise TypeError("metadata are no texts")
    entries = {name: _entry(path, name, **fields) for name, fields in header.items()}
    free = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != free:
            raise unusual(path, f"the data of {quoted([name])} lie over others, or leave a gap")
        free = entry.end
    if free > size:
        raise WeightsError(f"{path} is cut off: its data have {size} of {free} bytes", AGAIN)
    if free < size:
        raise unusual(path, f"{size - free} bytes follow its data")
    return entries, metadata


def _entry(path: Path, name: str, dtype: str, shape: list[int], data_offsets: list[int]) -> Entry:
    if dtype not in TYPES:
        raise unusual(path, f"its tensor {quoted([name])} has the dtype {quoted([str(dtype)])}")
    begin, end = data_offsets
    if not all(type(number) is int and 0 <= number < 2**63 for number in (*shape, begin, end)):
        raise TypeError("sizes are no counts")
    entry = Entry(TYPES[dtype], tuple(shape), begin, end)
    if len(shape) > _MOST_DIMENSIONS or prod(shape) * entry.dtype.itemsize != end - begin:
        raise unusual(path, f"its tensor {quoted([name])} has a shape of another size than its data")
    return entry

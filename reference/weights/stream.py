"""Safetensors files written tensor by tensor, with hashes of their content in the header.

The library writes a file from all tensors at once, 6 GB for the paper's model. The format is plain: the
length of the header in 8 bytes, a header in JSON, the tensors one after the other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from odise_trt.files.writing import Hint, unfinished

#: Key of the hash in the header: SHA-256 over name, type, shape and bytes of all tensors, in their order.
CONTENT = "content_sha256"
#: Key of a second hash, over the first `SAMPLED` bytes of all tensors. It shows whether somebody has saved
#: other tensors with the old header, and takes no time to compute again.
SAMPLE = "sample_sha256"
SAMPLED = 4096
#: Types of tensors by their names in a header.
TYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
_NAMES = {dtype: name for name, dtype in TYPES.items()}
_UNKNOWN = "0" * 64


@dataclass(frozen=True)
class Entry:
    """A tensor to be written."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Its size in the file."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize

    @property
    def line(self) -> bytes:
        """What of it besides the numbers goes into the hash."""
        return f"{self.name}\0{_NAMES[self.dtype]}\0{list(self.shape)}\0".encode()


def write_streamed(
    path: Path,
    entries: Iterable[Entry],
    read: Callable[[str], Tensor],
    metadata: Mapping[str, str],
    *,
    written: Callable[[int], None] = lambda count: None,
    hint: Hint = lambda error: "make room, or choose another folder",
) -> str:
    """Write a safetensors file. It gets its name when it is complete.

    Args:
        entries: the tensors. Those of larger types come first in the file, so that each is aligned.
        read: returns a tensor by name, in its own type; it is converted, and let go when it is written.
        metadata: strings for the header.
        written: called with the number of bytes written.

    Returns:
        The hash that the header has under `CONTENT`.

    Raises:
        OutputError: the file cannot be written. An older file of that name stays as it was.
    """
    ordered = sorted(entries, key=lambda entry: -entry.dtype.itemsize)
    digest, sample = hashlib.sha256(), hashlib.sha256()
    with unfinished(path, hint) as temporary, temporary.open("r+b") as file:
        header = _header(ordered, {**metadata, CONTENT: _UNKNOWN, SAMPLE: _UNKNOWN})
        file.write(header)
        for entry in ordered:
            tensor = read(entry.name).detach().to("cpu", entry.dtype).contiguous()
            if tuple(tensor.shape) != entry.shape:
                raise ValueError(f"{entry.name} has shape {tuple(tensor.shape)}, {entry.shape} was announced")
            content = tensor.reshape(-1).view(torch.uint8).numpy().data
            digest.update(entry.line)
            digest.update(content)
            sample.update(content[:SAMPLED])
            file.write(content)
            written(entry.size)
        found = digest.hexdigest()
        file.seek(0)
        # As long as the first one, since a hash has always 64 letters.
        file.write(_header(ordered, {**metadata, CONTENT: found, SAMPLE: sample.hexdigest()}))
    return found


def _header(entries: Sequence[Entry], metadata: Mapping[str, str]) -> bytes:
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    begin = 0
    for entry in entries:
        end = begin + entry.size
        header[entry.name] = {
            "dtype": _NAMES[entry.dtype],
            "shape": list(entry.shape),
            "data_offsets": [begin, end],
        }
        begin = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text

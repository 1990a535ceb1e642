"""What all sources have in common: tensors made when they are read, and one strict comparison of names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from odise_trt.errors import WeightsError, hint_for, reason
from reference.convert.expected import Shape
from reference.download.reporter import Reporter

_SHOWN = 5
#: Bytes hashed at once.
_BLOCK = 1 << 22
#: Types of weights in files. All of them become single precision without loss, but for float64.
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Lazy(Mapping[str, Tensor]):
    """Tensors by official name, each made when it is read, so that 4 GB are never in memory at once."""

    def __init__(self, makers: Mapping[str, Callable[[], Tensor]]) -> None:
        self._makers = makers

    def __getitem__(self, name: str) -> Tensor:
        return self._makers[name]()

    def __contains__(self, name: object) -> bool:
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


@dataclass(frozen=True)
class FileRecord:
    """A file that was read, for the header of the result.

    Attributes:
        name: without its folder.
        sha256: of the whole file.
    """

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Source:
    """The tensors of one source.

    Attributes:
        path: as it was given.
        tensors: under official names.
        files: what was read.
        notes: what a person should know about it.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    files: tuple[FileRecord, ...]
    notes: tuple[str, ...] = ()

    @property
    def hashes(self) -> frozenset[str]:
        """The SHA-256 of all files."""
        return frozenset(file.sha256 for file in self.files)


def record(path: Path, reporter: Reporter) -> FileRecord:
    """Hash a file.

    Raises:
        WeightsError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        size = path.stat().st_size
        with reporter.counting(f"hashing {path.name}", size) as advance, path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                advance(len(block))
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {reason(error)}", hint_for(error)) from error
    return FileRecord(path.name, size, digest.hexdigest())


def require_names(path: Path, missing: Iterable[str], unexpected: Iterable[str], hint: str) -> None:
    """Raise WeightsError unless both lists of names are empty."""
    missing, unexpected = sorted(missing), sorted(unexpected)
    if missing or unexpected:
        raise WeightsError(
            f"{path} does not hold what is expected:\n"
            f"  missing: {listing(missing)}\n  not known: {listing(unexpected)}",
            hint,
        )


def require_shapes(path: Path, tensors: Mapping[str, Tensor], shapes: Mapping[str, Shape], hint: str) -> None:
    """Raise WeightsError unless every tensor has the expected shape and holds floating-point numbers."""
    for name, shape in shapes.items():
        tensor = tensors[name]
        if tuple(tensor.shape) != shape:
            raise WeightsError(f"{path}: {name} has shape {tuple(tensor.shape)}, not {shape}", hint)
        if tensor.dtype not in FLOATS:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise WeightsError(f"{path}: {name} holds {kind}", "give the file in half or single precision")


def listing(names: list[str]) -> str:
    """Return how many names there are, and the first of them."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)}" + (f" ({', '.join(names[:_SHOWN])}{more})" if names else "")

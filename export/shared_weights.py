"""Stages of one bundle that have weights in common keep them once.

The captioner and the mask pooling look through one frozen CLIP, and the raw features are those of the
features. A stage that joins a bundle refers to the weights that the files of earlier stages hold already. Its
own file of weights has only the rest.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

#: Places in a file are multiples of this, a page of memory.
_PAGE = 4096


@dataclass
class SharedWeights:
    """The weights of a bundle that is being built: digest -> name of the file, and place in it."""

    folder: Path
    _places: dict[bytes, tuple[str, int]] = field(default_factory=dict)

    def know(self, graph: Path) -> None:
        """Take in the weights of a stage that is in the bundle."""
        for weight, digest in _digests(onnx.load(graph, load_external_data=False), graph.parent):
            self._places.setdefault(digest, (weight.location, weight.offset))

    def join(self, graph: Path, files: Iterable[Path], adopt: Callable[[Path], Path]) -> tuple[Path, ...]:
        """Put a stage into the bundle, so that it refers to weights that are there already.

        Args:
            graph: its ONNX file, elsewhere, with its weights beside it. It is not changed.
            files: all files of the stage.
            adopt: puts a file into the bundle as it is. For stages that share nothing.

        Returns:
            All files in the bundle that the stage needs, its graph first.
        """
        model = onnx.load(graph, load_external_data=False)
        digests = _digests(model, graph.parent)
        if not any(digest in self._places for _, digest in digests):
            for weight, digest in digests:
                self._places.setdefault(digest, (weight.location, weight.offset))
            return tuple(adopt(file) for file in files)
        own = self.folder / f"{graph.name}.data"
        rest = [(weight, digest) for weight, digest in digests if digest not in self._places]
        self._places |= _copy(graph.parent, rest, own)
        for weight, digest in digests:
            weight.refer(*self._places[digest])
        onnx.save(model, self.folder / graph.name)
        used = {self._places[digest][0] for _, digest in digests}
        return (
            self.folder / graph.name,
            *(self.folder / n for n in sorted(used, key=lambda n: (n != own.name, n))),
        )


def readers(files: Iterable[tuple[str, tuple[str, ...]]], stages: Iterable[str]) -> set[str]:
    """Return the stages that have to be built again with others, since they read weights from their files.

    Args:
        files: the stages of a bundle, and the files of each.
        stages: those that are built again.
    """
    listed, asked = dict(files), set(stages)
    found: set[str] = set()
    while True:
        replaced = {f"{name}.onnx.data" for name in asked | found}
        more = {name for name, needed in listed.items() if replaced & {*needed}} - asked - found
        if not more:
            return found
        found |= more


@dataclass(frozen=True)
class _Weight:
    """A tensor whose numbers lie in a file beside its graph."""

    tensor: onnx.TensorProto
    location: str
    offset: int
    length: int

    @classmethod
    def of(cls, tensor: onnx.TensorProto) -> _Weight:
        found = ExternalDataInfo(tensor)
        return cls(tensor, found.location, found.offset or 0, found.length or 0)

    def refer(self, location: str, offset: int) -> None:
        """Say that the numbers lie elsewhere."""
        del self.tensor.external_data[:]
        for key, value in {"location": location, "offset": offset, "length": self.length}.items():
            self.tensor.external_data.add(key=key, value=str(value))


def _digests(model: onnx.ModelProto, folder: Path) -> list[tuple[_Weight, bytes]]:
    weights = [_Weight.of(tensor) for tensor in model.graph.initializer if uses_external_data(tensor)]
    files = _Files(folder)
    return [(weight, hashlib.sha256(files.bytes(weight)).digest()) for weight in weights]


def _copy(folder: Path, weights: list[tuple[_Weight, bytes]], target: Path) -> dict[bytes, tuple[str, int]]:
    """Write weights to a file of their own. Return the place of each by its digest."""
    places: dict[bytes, tuple[str, int]] = {}
    files = _Files(folder)
    if weights:
        with target.open("wb") as file:
            for weight, digest in weights:
                file.seek(-file.tell() % _PAGE, os.SEEK_CUR)
                places[digest] = target.name, file.tell()
                file.write(files.bytes(weight))
    return places


class _Files:
    """Files of weights in a folder, mapped into memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._maps: dict[str, mmap.mmap] = {}

    def bytes(self, weight: _Weight) -> memoryview:
        if weight.location not in self._maps:
            with (self._folder / weight.location).open("rb") as file:
                self._maps[weight.location] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return memoryview(self._maps[weight.location])[weight.offset : weight.offset + weight.length]

"""Stages of one bundle that have weights in common keep them once.

The captioner and the mask pooling look through one frozen CLIP, and the raw features are those of the
features. A stage that joins a bundle refers to the weights that the files of earlier stages hold already. Its
own file of weights has only the rest.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from odise_trt.backends.onnx_weights import MappedFiles, Weight, weights_of

#: Places in a file are multiples of this, a page of memory.
_PAGE = 4096


@dataclass
class SharedWeights:
    """The weights of a bundle that is being built: digest -> name of the file, and place in it."""

    folder: Path
    _places: dict[bytes, tuple[str, int]] = field(default_factory=dict)

    def know(self, graph: Path) -> None:
        """Take in the weights of a stage that is in the bundle."""
        for weight, digest in _digests(graph):
            self._places.setdefault(digest, (weight.file, weight.offset))

    def join(self, graph: Path, files: Iterable[Path], adopt: Callable[[Path], Path]) -> tuple[Path, ...]:
        """Put a stage into the bundle, so that it refers to weights that are there already.

        Args:
            graph: its ONNX file, elsewhere, with its weights beside it. It is not changed.
            files: all files of the stage.
            adopt: puts a file into the bundle as it is. For stages that share nothing.

        Returns:
            All files in the bundle that the stage needs, its graph first.
        """
        digests = _digests(graph)
        if not any(digest in self._places for _, digest in digests):
            for weight, digest in digests:
                self._places.setdefault(digest, (weight.file, weight.offset))
            return tuple(adopt(file) for file in files)
        own = self.folder / f"{graph.name}.data"
        rest = [(weight, digest) for weight, digest in digests if digest not in self._places]
        self._places |= _copy(graph.parent, rest, own)
        model = onnx.load(graph, load_external_data=False)
        tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        for weight, digest in digests:
            _refer(tensors[weight.name], *self._places[digest], weight.length)
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


def _digests(graph: Path) -> list[tuple[Weight, bytes]]:
    files = MappedFiles(graph.parent)
    return [(weight, hashlib.sha256(files.bytes(weight)).digest()) for weight in weights_of(graph)]


def _refer(tensor: onnx.TensorProto, file: str, offset: int, length: int) -> None:
    del tensor.external_data[:]
    for key, value in {"location": file, "offset": str(offset), "length": str(length)}.items():
        tensor.external_data.add(key=key, value=value)


def _copy(folder: Path, weights: list[tuple[Weight, bytes]], target: Path) -> dict[bytes, tuple[str, int]]:
    """Write weights to a file of their own. Return the place of each by its digest."""
    places: dict[bytes, tuple[str, int]] = {}
    files = MappedFiles(folder)
    if weights:
        with target.open("wb") as file:
            for weight, digest in weights:
                file.seek(-file.tell() % _PAGE, os.SEEK_CUR)
                places[digest] = target.name, file.tell()
                file.write(files.bytes(weight))
    return places

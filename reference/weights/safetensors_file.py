"""Safetensors files with the weights of a model: read tensor by tensor, written whole or not at all."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from odise_trt.errors import WeightsError
from odise_trt.files.writing import unfinished
from reference.weights.diagnosis import unreadable

#: Key of the header: the categories of training, a JSON list of lists of names.
LABELS = "train_labels"
#: Bytes read before the file is opened anew. What was read stays in memory as long as the file is mapped.
_MAPPED = 1 << 29
_ELSEWHERE = "make room, or choose another folder"

TrainLabels = tuple[tuple[str, ...], ...]


class WeightsFile(Mapping[str, Tensor]):
    """An open safetensors file, a context manager. A tensor is read when it is requested.

    Attributes:
        labels: the categories of training with their synonyms; None if the file does not state them, as
            official files do not.

    Raises:
        WeightsError: on entry, if it is not a safetensors file.
    """

    labels: TrainLabels | None

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> WeightsFile:
        self._open()
        self._names = frozenset(self._file.keys())
        self.labels = self._labels(self._file.metadata() or {})
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.__exit__(*exception)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        tensor = self._file.get_tensor(name)
        self._mapped += tensor.nbytes
        if self._mapped > _MAPPED:
            self._file.__exit__(None, None, None)
            self._open()
        return tensor

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def _open(self) -> None:
        try:
            self._file = safe_open(self._path, framework="pt").__enter__()
        except (SafetensorError, OSError) as error:
            raise unreadable(self._path, error) from error
        self._mapped = 0

    def _labels(self, metadata: Mapping[str, str]) -> TrainLabels | None:
        if LABELS not in metadata:
            return None
        try:
            labels = json.loads(metadata[LABELS])
        except ValueError:
            labels = None
        if not (isinstance(labels, list) and labels and all(map(_is_category, labels))):
            raise WeightsError(
                f"{self._path} states its training labels in another form",
                f"its metadata {LABELS!r} must be a JSON list of lists of names",
            )
        return tuple(tuple(names) for names in labels)


def write_weights(
    path: Path,
    tensors: Mapping[str, Tensor],
    labels: TrainLabels,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a file that `WeightsFile` reads; it gets its name when it is complete.

    Args:
        labels: see `WeightsFile`.
        metadata: more facts for the header of the file.

    Raises:
        OutputError: it cannot be written; a file of that name is left as it was.
    """
    header = {"format": "pt", **(metadata or {}), LABELS: json.dumps(labels)}
    with unfinished(path, lambda _: _ELSEWHERE) as temporary:
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, header)
        except SafetensorError as error:
            raise _system_error(error) from error


def _system_error(error: SafetensorError) -> OSError:
    """ "Error while serializing: I/O error: No space left on device (os error 28)" as Python's own error."""
    number = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(str(error)) if number is None else OSError(int(number[1]), os.strerror(int(number[1])))


def _is_category(names: object) -> bool:
    return isinstance(names, list) and bool(names) and all(isinstance(name, str) and name for name in names)

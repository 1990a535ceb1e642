"""Opens a weight file of another program by what is in it."""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from odise_trt.errors import WeightsError, hint_for, reason
from reference.foreign.archive import read_archive
from reference.foreign.safetensors_header import Entry, read_header
from reference.foreign.torch_file import check_archive, load_checked, require_safe_torch
from reference.foreign.torchscript import load_script
from reference.weights.diagnosis import unreadable
from reference.weights.safetensors_file import WeightsFile

Kind = Literal["torch", "torchscript", "safetensors"]

_SAFETENSORS = ".safetensors"
#: Names that people and programs take for files of PyTorch.
_TORCH = (".pth", ".pt", ".ckpt", ".bin")


@dataclass(frozen=True)
class ForeignFile:
    """An open weight file.

    Attributes:
        path: as given.
        kind: what wrote it: torch.save, torch.jit.save or safetensors.
        content: what is in it, by kind.
            "torch": what was saved: dictionaries, lists, texts, numbers, tensors, and inert objects in the
            place of foreign ones.
            "torchscript": name -> tensor, as its `state_dict()` names them.
            "safetensors": name -> tensor. A tensor is read when it is requested.
            Tensors of the first two are mapped from the disk: only those that are used need memory, and
            writing to them does not change the file.
        metadata: texts of a safetensors header.
    """

    path: Path
    kind: Kind
    content: Any
    metadata: Mapping[str, str] = field(default_factory=dict)
    _header: Mapping[str, Entry] = field(default_factory=dict, repr=False)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor, without reading its numbers.

        Args:
            name: for the kind "torch", of a tensor in `content` or in one of the dictionaries in it.

        Raises:
            KeyError: there is no such tensor, or there are several.
        """
        return self._header[name].shape if self._header else tuple(self._tensor(name).shape)

    def dtype(self, name: str) -> torch.dtype:
        """Return the dtype of a tensor, without reading its numbers.

        Raises:
            KeyError: see `shape`.
        """
        return self._header[name].dtype if self._header else self._tensor(name).dtype

    def _tensor(self, name: str) -> Tensor:
        if not isinstance(self.content, dict):
            raise KeyError(name)
        places = [self.content, *(part for part in self.content.values() if isinstance(part, dict))]
        found = [place[name] for place in places if isinstance(place.get(name), Tensor)]
        if len(found) != 1:
            raise KeyError(name)
        return found[0]


@contextmanager
def open_weights(path: str | Path, work: Path | None = None) -> Iterator[ForeignFile]:
    """Open a weight file of another program. Nothing in it is run.

    Args:
        path: a `.pth`, `.ckpt` or `.bin` of torch.save, a TorchScript archive, or a safetensors file. Its
            content says which, and its name must not say another.
        work: a folder for a temporary copy of a TorchScript archive's data. None: the system's.

    Raises:
        WeightsError: it cannot be read, is another kind of file, is cut off or damaged, or holds what
            files of weights do not hold.
        OutputError: `work` has no room.
    """
    path = Path(path)
    with ExitStack() as closing:
        try:
            file = _opened(path, work, closing)
        except OSError as error:
            raise WeightsError(f"{path} cannot be read: {reason(error)}", hint_for(error)) from error
        yield file


def _opened(path: Path, work: Path | None, closing: ExitStack) -> ForeignFile:
    begin = _beginning(path)
    if begin.startswith(b"PK\3\4"):
        return _archive(path, Path(tempfile.gettempdir()) if work is None else work)
    if begin[5:9] == b"\0\0\0{":  # the length of a header, and its beginning
        return _safetensors(path, closing)
    raise unreadable(path, "it is no file of PyTorch either")


def _beginning(path: Path) -> bytes:
    # Opening a pipe would wait for a writer, and a device has no end.
    kind = path.stat().st_mode
    if stat.S_ISDIR(kind):
        raise unreadable(path)
    if not stat.S_ISREG(kind):
        raise WeightsError(f"{path} is not a file", "give a file on a disk")
    with path.open("rb") as file:
        return file.read(16)


def _archive(path: Path, work: Path) -> ForeignFile:
    if path.suffix.lower() == _SAFETENSORS:
        raise WeightsError(f"{path} is a PyTorch file, not safetensors", "rename it: its name ends with .pth")
    require_safe_torch()
    archive = read_archive(path)
    names = check_archive(archive)
    if archive.is_script:
        return ForeignFile(path, "torchscript", load_script(archive, names, work))
    return ForeignFile(path, "torch", load_checked(archive, names))


def _safetensors(path: Path, closing: ExitStack) -> ForeignFile:
    if path.suffix.lower() in _TORCH:
        raise WeightsError(f"{path} is a safetensors file", "rename it: its name ends with .safetensors")
    header, metadata = read_header(path)
    tensors = closing.enter_context(WeightsFile(path))
    return ForeignFile(path, "safetensors", tensors, metadata, header)

"""Reads the tensors of a TorchScript archive from its data alone.

`torch.jit.load` would run what the archive holds, and `torch.load(weights_only=True)` refuses it. Without its
code, the archive is an ordinary file of torch.save, whose modules are objects of unknown classes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor

from odise_trt.files.writing import unfinished_folder, writing
from reference.foreign.archive import Archive, Member
from reference.foreign.refusal import damaged, quoted, unusual
from reference.foreign.torch_file import Inert, load_checked

#: Where data begin in files of PyTorch: at multiples of this.
_ALIGNMENT = 64
_LOCAL_HEADER = 30
_CHUNK = 2**20
#: Above this size, an entry has its size in a field of its own, of so many bytes.
_LARGE, _LARGE_FIELD = 2**30, 20


def load_script(archive: Archive, names: Collection[str], work: Path) -> dict[str, Tensor]:
    """Return the tensors of a checked TorchScript archive, as its `state_dict()` would name them.

    A tensor that a module has as a plain attribute counts as well: the data do not tell it from a buffer.

    Args:
        names: what its pickle names.
        work: a folder for a temporary copy of the data. Its name is removed before this returns; the disk
            space is free when the tensors are gone, which are mapped from it.

    Raises:
        WeightsError: it is not the archive of a module.
        OutputError: there is no room for the copy.
    """
    with writing(work), unfinished_folder(work) as folder:
        copy = folder / "data.zip"
        _copy_data(archive, copy)
        module = load_checked(archive, names, copy)
    if not isinstance(module, Inert):
        raise unusual(archive.path, "it is not a TorchScript module")
    return dict(_walk(archive.path, "", module))


def _walk(path: Path, prefix: str, module: Inert) -> Iterator[tuple[str, Tensor]]:
    state: dict[str, Any] = module.state or {}
    for name, value in state.items():
        if "." in name:
            raise unusual(path, f"a module in it has an attribute {quoted([name])}")
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, Inert):
            yield from _walk(path, f"{prefix}{name}.", value)


def _copy_data(archive: Archive, copy: Path) -> None:
    """Write an archive that has only the pickle and the data of another one."""
    with archive.path.open("rb") as source, zipfile.ZipFile(copy, "w") as target:
        for name, member in archive.members.items():
            if not name.startswith("."):
                _copy(archive.path, source, target, name, member)


def _copy(path: Path, source: BinaryIO, target: zipfile.ZipFile, name: str, member: Member) -> None:
    entry = zipfile.ZipInfo(f"archive/{name}")
    is_large = member.size > _LARGE
    begin = target.fp.tell() + _LOCAL_HEADER + len(entry.filename)  # type: ignore[union-attr]
    entry.extra = _padding(begin + is_large * _LARGE_FIELD)
    source.seek(member.offset)
    left = member.size
    with target.open(entry, "w", force_zip64=is_large) as part:
        while left:
            chunk = source.read(min(_CHUNK, left))
            if not chunk:
                raise damaged(path, "it became shorter while it was read")
            part.write(chunk)
            left -= len(chunk)


def _padding(begin: int) -> bytes:
    """Return an extra field that moves data from here to the next multiple of the alignment."""
    length = -(begin + 4) % _ALIGNMENT
    return b"FB" + length.to_bytes(2, "little") + bytes(length)

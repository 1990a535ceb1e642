"""Loads a checked archive with PyTorch's safe unpickler, and checks what it gives.

PyTorch itself refuses tensors that reach beyond a mapped file, since their storage cannot be resized. It does
not refuse those that repeat a number by strides of zero. Loading to the device "meta" would check nothing:
storages are resized there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from odise_trt.errors import WeightsError
from reference.foreign import names as known
from reference.foreign.archive import Archive
from reference.foreign.pickle_check import check_pickle
from reference.foreign.refusal import damaged, unusual

#: Before it, files could get around `weights_only`: CVE-2025-32434 and CVE-2026-24747.
_OLDEST_TORCH = (2, 10)


class Inert:
    """Stands for an object of a foreign class. It keeps its state and does nothing.

    Attributes:
        state: what the file has for it.
    """

    state: Any = None

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        self.state = state


def require_safe_torch() -> None:
    """Raise WeightsError if this PyTorch does not read pickles safely."""
    match = re.match(r"(\d+)\.(\d+)", torch.__version__)
    if match is None or tuple(map(int, match.groups())) < _OLDEST_TORCH:
        oldest = ".".join(map(str, _OLDEST_TORCH))
        raise WeightsError(
            f"PyTorch {torch.__version__} does not read pickles safely (CVE-2025-32434, CVE-2026-24747)",
            f"install PyTorch {oldest} or newer",
        )


def check_archive(archive: Archive) -> Collection[str]:
    """Check the pickle of an archive against its data. Return all names in it.

    Raises:
        WeightsError: see `check_pickle`.
    """
    sizes = {
        name.removeprefix("data/"): member.size
        for name, member in archive.members.items()
        if name.startswith("data/")
    }
    return check_pickle(archive.path, archive.pickle, sizes, archive.is_script)


def load_checked(archive: Archive, names: Collection[str], place: Path | None = None) -> Any:
    """Load an archive; its tensors are mapped from the disk, on the CPU, and need no gradient.

    Args:
        archive: a checked one.
        names: what its pickle names. Foreign classes become classes of `Inert`, one for each.
        place: of the archive, if it is not where it was checked.

    Raises:
        WeightsError: PyTorch refuses it, or sees another archive than was checked.
    """
    if place is None:
        _require_same_view(archive)
    stubs: list[Any] = [
        (type(name.rpartition(".")[2], (Inert,), {}), name) for name in names if known.is_inert(name)
    ]
    try:
        with torch.serialization.safe_globals(stubs):
            content = torch.load(place or archive.path, mmap=True, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # whatever a file makes PyTorch raise
        raise damaged(archive.path, _first_line(error)) from error
    for tensor in _tensors(content, set()):
        _check(archive.path, tensor)
        tensor.requires_grad_(False)
    return content


def _require_same_view(archive: Archive) -> None:
    """Compare the checked archive with what PyTorch's own reader of zip archives sees."""
    try:
        reader: Any = torch._C.PyTorchFileReader(str(archive.path))
        same = set(reader.get_all_records()) == set(archive.members)
        same = same and reader.get_record("data.pkl") == archive.pickle
        for name, member in archive.members.items():
            same = same and reader.get_record_offset(name) == member.offset
    except Exception as error:  # whatever a file makes PyTorch raise
        raise damaged(archive.path, _first_line(error)) from error
    if not same:
        raise unusual(archive.path, "PyTorch reads other entries in it than it seems to have")


def _tensors(value: object, seen: set[int]) -> Iterator[Tensor]:
    """Return the tensors in a structure, each once."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part, seen)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part, seen)
    elif isinstance(value, Inert):
        yield from _tensors(value.state, seen)


def _check(path: Path, tensor: Tensor) -> None:
    """Check that a tensor is a plain one, whose numbers lie in its storage."""
    plain = (
        type(tensor) in (Tensor, Parameter)
        and tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and not (tensor.is_quantized or tensor.is_complex() or tensor.is_nested)
    )
    if not plain:
        raise unusual(path, "it has a tensor of an unusual kind")
    reach = tensor.storage_offset() + sum(
        (length - 1) * step for length, step in zip(tensor.shape, tensor.stride(), strict=True)
    )
    size = tensor.untyped_storage().nbytes() // tensor.element_size()
    if tensor.numel() and not max(reach, tensor.numel() - 1) < size:
        raise unusual(path, f"a tensor of shape {tuple(tensor.shape)} reaches beyond its data")


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return ascii(lines[0][:200])[1:-1]

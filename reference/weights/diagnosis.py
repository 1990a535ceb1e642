"""Diagnoses a file that was given as weights but is not a safetensors file."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Collection
from pathlib import Path

from odise_trt.errors import WeightsError, hint_for, reason
from odise_trt.pictures.file_kind import ARCHIVES

_CONVERT = "odise-trt convert turns it into a safetensors file under the official names"
_SAVE_ANEW = (
    "save it anew with a PyTorch of today: torch.save(torch.load(F, weights_only=True), NEW);"
    " odise-trt convert reads NEW"
)
_OFFICIAL = "give a safetensors file under the official names"
_AGAIN = "download it again"
_UNPACK = "unpack it, and give the safetensors file in it"

#: The first bytes of a file, what it is then, and the hint.
_BEGINNINGS = (
    (b"version https://git-lfs.github.com/", "is a pointer of Git LFS, not the file itself", "git lfs pull"),
    (b"/annex/objects/", "is a pointer of git-annex, not the file itself", "git annex get"),
    (b"\x80", "is a Python pickle, as torch.save wrote it once", _SAVE_ANEW),
    *((start, f"is {what}", _UNPACK) for start, what in ARCHIVES),
    (b"\x89HDF\r\n", "is an HDF5 file", _OFFICIAL),
    (b"GGUF", "is a GGUF file", _OFFICIAL),
)
#: Longest header of a safetensors file.
_HEADER = 100_000_000


def unreadable(path: Path, error: object = "") -> WeightsError:
    """Return the error for a file that the safetensors library refused.

    Args:
        path: of the file.
        error: the message of the library.
    """
    try:
        if path.is_dir():
            return WeightsError(f"{path} is a folder", _file_in(path))
        with path.open("rb") as file:
            begin = file.read(512)
        return WeightsError(*_what(path, begin, path.stat().st_size, error))
    except OSError as refused:
        return WeightsError(f"{path} cannot be read: {reason(refused)}", hint_for(refused))


def misfit(
    have: Collection[str], missing: Collection[str], unexpected: Collection[str], trainable: Collection[str]
) -> str:
    """Return the hint for tensors that do not fit a model, by what the names suggest.

    Args:
        have: the names in the file.
        missing, unexpected: names that the file lacks, and names that the model does not have.
        trainable: names of the trainable part.
    """
    if missing and not unexpected and set(trainable).isdisjoint(missing):
        return (
            "the file has the trained part only, as released checkpoints do: give the frozen part as well"
            " (--frozen of training), or a complete file"
        )
    if missing and not unexpected and set(trainable) >= set(missing):
        return "the file lacks the trained part: give a complete file, or train from it with --frozen"
    for prefix in ("module.", "model.", "_orig_mod.", "state_dict."):
        if all(name.startswith(prefix) for name in have):
            wanted = {name.removeprefix(prefix) for name in have}
            if wanted & {*missing, *trainable}:
                return f"remove the beginning {prefix!r} of all names"
    if any(name.startswith(("model.diffusion_model.", "unet.", "down_blocks.")) for name in have):
        return "this is a Stable Diffusion model: ODISE has it, CLIP and a mask head under the official names"
    if any(name.startswith(("word_head.", "category_head.")) for name in unexpected):
        return "this is a caption model for a label preset, or the other way round: choose the other --preset"
    return "give a complete file for this preset"


def _what(path: Path, begin: bytes, size: int, error: object) -> tuple[str, str]:
    if size == 0:
        return f"{path} is empty", _AGAIN
    header = int.from_bytes(begin[:8], "little")
    if begin[8:9] == b"{" and header <= _HEADER:
        return _cut_off(path, header, size, error)
    for start, what, way in _BEGINNINGS:
        if begin.startswith(start):
            return f"{path} {what}", way
    if begin.startswith(b"PK"):
        return _zip(path)
    if begin[257:262] == b"ustar":
        return f"{path} is a tar archive", _UNPACK
    text = begin.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return f"{path} is a web page, not weights", "download the file itself; the site may want a login"
    if text.startswith((b"{", b"[")):
        return _json(path, text)
    return f"{path} cannot be read as safetensors: {error}", _OFFICIAL


def _zip(path: Path) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return f"{path} is a file of torch.save or a zip archive, and cut off or damaged", _AGAIN
    if any(name.endswith("data.pkl") for name in names):
        return f"{path} is a PyTorch file (torch.save), not safetensors", _CONVERT
    if names and all(name.endswith(".npy") for name in names):
        return (
            f"{path} is a NumPy archive, not safetensors",
            _OFFICIAL,
        )
    return f"{path} is a zip archive", _UNPACK


def _json(path: Path, text: bytes) -> tuple[str, str]:
    if b'"weight_map"' in text or path.name.endswith(".index.json"):
        return (
            f"{path} is the index of weights in several files",
            "write them into one safetensors file, under the official names",
        )
    return f"{path} is a JSON file, not weights", _OFFICIAL


def _cut_off(path: Path, header: int, size: int, error: object) -> tuple[str, str]:
    """Compare the size of a safetensors file with the size that its header states."""
    if size < 8 + header:
        return f"{path} is cut off: {size} bytes, its header alone has {8 + header}", _AGAIN
    try:
        with path.open("rb") as file:
            file.seek(8)
            entries = json.loads(file.read(header))
        ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
        whole = 8 + header + max(ends, default=0)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return f"{path} is a safetensors file with a damaged header: {error}", _AGAIN
    if size < whole:
        return f"{path} is cut off: it has {size} of {whole} bytes", _AGAIN
    return f"{path} is a damaged safetensors file: {error}", _AGAIN


def _file_in(folder: Path) -> str:
    found = sorted(path.name for path in folder.glob("*.safetensors"))
    if len(found) == 1:
        return f"give the file in it: {folder / found[0]}"
    if found:
        return f"give one of the files in it: {', '.join(found[:5])}"
    return _OFFICIAL

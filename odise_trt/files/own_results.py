"""Distinguishes results of this program from other files, and results of one picture from those of another.

Three files belong together: `photo.overlay.png`, `photo.panoptic.png` and `photo.json`. The JSON says which
program made them, and from which picture. Without the JSON, a picture of such a name is the user's own.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OutputError, reason
from .paths import Kind, kind_of, real_path

#: `info.description` of every JSON that is written.
DESCRIPTION = "segmented by odise-trt"
#: Paths of pipes that the shell has opened: `odise-trt run <(cat photo.jpg)`, `| odise-trt run /dev/stdin`.
OPEN = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")
#: Endings of the file names. The JSON is written first.
ENDINGS = (".json", ".overlay.png", ".panoptic.png")

# Only the beginning of the JSON is read. The rest may be megabytes of masks.
_HEAD = 1 << 16
_HINT = "choose another folder with --output, or replace it with --overwrite (in Python: overwrite=True)"
_GAP = re.compile(r"[\s:,]*")


@dataclass(frozen=True)
class Origin:
    """The picture that results were made from.

    Attributes:
        file_name: the picture's name, as in the JSON.
        source: the path to the picture from the folder of the results. None: it was no file, or not known.
        pixels: a digest of its pixels. None: not known.
    """

    file_name: str
    source: str | None = None
    pixels: str | None = None

    @property
    def is_recorded(self) -> bool:
        """Whether more than the name is known. Earlier versions wrote only the name."""
        return (self.source, self.pixels) != (None, None)

    def __str__(self) -> str:
        if self.source is not None:
            return self.source
        return self.file_name if self.pixels is None else f"{self.file_name}, which was no file"


@dataclass(frozen=True)
class Picture:
    """A picture whose results are to be written.

    Attributes:
        file_name, source: as in `Origin`.
        pixels: returns the digest of its pixels. It is called only if the rest does not decide.
    """

    file_name: str
    source: str | None
    pixels: Callable[[], str]

    def has(self, origin: Origin, folder: Path) -> bool:
        """Whether results in `folder` are of this picture.

        They are if they name its path, whatever the file contains now. They also are if the file they name
        is gone but name and pixels are equal: photos or results were moved, or are seen from a container.
        """
        if origin.file_name != self.file_name:
            return False
        if not origin.is_recorded or (self.source is not None and origin.source == self.source):
            return True
        if (origin.source is None) != (self.source is None):
            return False
        if origin.source is not None and self.source is not None:
            moved = _is_gone(folder / origin.source) and not _is_gone(folder / self.source)
            if not moved:
                return False
        return origin.pixels == self.pixels()

    def __str__(self) -> str:
        return self.file_name if self.source is None else self.source


def source_of(image: str | os.PathLike[str], folder: str | os.PathLike[str]) -> str:
    """Return the path to a picture, relative to the folder of its results.

    A relative path stays valid when both are moved together, or seen from another machine.
    """
    path = os.path.join(real_path(os.path.dirname(image) or "."), os.path.basename(image))
    try:
        return Path(os.path.relpath(path, real_path(folder))).as_posix()
    except ValueError:  # another drive of Windows
        return path


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Whether a path is one of `OPEN`. It may give another picture next time, so it identifies none."""
    return os.fspath(path).startswith(OPEN)


def digest_of(pixels: np.ndarray) -> str:
    """Return a digest of the pixels and the shape of a picture."""
    digest = hashlib.sha256(str(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()[:32]


def files_of(name: str) -> tuple[str, ...]:
    """Return the file names of the results `name`."""
    return tuple(name + ending for ending in ENDINGS)


def origin_of(about: str | os.PathLike[str]) -> Origin | None:
    """Return the origin that a JSON records. None: the JSON is missing, or not of this program."""
    if not kind_of(about).is_file:
        return None
    try:
        head = _head_of(about)
    except OSError:
        return None
    info, images = head.get("info"), head.get("images")
    if not isinstance(info, dict) or info.get("description") != DESCRIPTION:
        return None
    image = images[0] if isinstance(images, list) and images else None
    if not isinstance(image, dict) or not isinstance(image.get("file_name"), str):
        return None
    known = (image.get(key) for key in ("source", "pixels"))
    return Origin(image["file_name"], *(value if isinstance(value, str) else None for value in known))


def results_of(path: str | os.PathLike[str]) -> Origin | None:
    """Return the origin of a map, overlay or JSON. None: the file is not a result of this program."""
    text = os.fspath(path)
    for ending in ENDINGS:
        if text.endswith(ending):
            return origin_of(text.removesuffix(ending) + ".json")
    return None


def keeper(folder: Path, name: str, picture: Picture) -> Callable[[Path], None]:
    """Return a function that takes an existing file and raises unless that file may be replaced."""
    about = folder / files_of(name)[0]

    def keep(path: Path) -> None:
        found = origin_of(about)
        if found is None:
            raise OutputError(f"{path} is there already, and {_why_not_ours(path, about)}", _HINT)
        if not picture.has(found, folder):
            instead = "" if picture.source is None else f", not {picture}"
            raise OutputError(f"{path} is a result of another picture: {found}{instead}", _HINT)

    return keep


def _why_not_ours(path: Path, about: Path) -> str:
    there = kind_of(about)
    if there.is_file:
        try:
            _head_of(about)
        except OSError as error:
            return f"whose it is cannot be told: {about} cannot be read: {reason(error)}"
    missing = "" if path == about or there.is_there else f": no {about.name} beside it says so"
    return f"it is no result of odise-trt{missing}"


def _is_gone(path: Path) -> bool:
    # A file that cannot be examined may still exist.
    return kind_of(path).kind in (Kind.NOTHING, Kind.BROKEN_LINK)


def _head_of(about: str | os.PathLike[str]) -> dict[str, Any]:
    with open(about, "rb") as file:
        return _first_values(file.read(_HEAD).decode(errors="replace"))


def _first_values(text: str) -> dict[str, Any]:
    """Return the values of a JSON object, up to the first incomplete one."""
    values: dict[str, Any] = {}
    decode = json.JSONDecoder().raw_decode
    at = text.find("{") + 1
    try:
        while not {"info", "images"} <= values.keys():
            key, at = decode(text, _GAP.match(text, at).end())  # type: ignore[union-attr]
            values[str(key)], at = decode(text, _GAP.match(text, at).end())  # type: ignore[union-attr]
    except (ValueError, RecursionError):
        pass
    return values

"""Finds the pictures that files, folders and globs name, and counts the files that are skipped."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from PIL import Image

from ..errors import ImageError, hint_for, reason
from ..pictures.image_file import FORMATS
from .globs import is_glob, matches_of
from .own_results import is_stream, results_of
from .paths import Kind, each, expanded, is_address, kind_of, real_path

#: Suffixes of formats that phones write and Pillow does not read.
_HEIC = frozenset((".heic", ".heif", ".hif"))
_OWN = "own result"
# Files that cannot be examined, or are gone again, are taken, and reported as pictures that cannot be read.
_TAKEN = (Kind.FILE, Kind.UNKNOWN, Kind.NOTHING)
_MOST_SUFFIXES, _MOST_SECOND_NAMES = 4, 3


@cache
def suffixes() -> frozenset[str]:
    """Return the suffixes of the files taken from a folder. A file named directly may have any suffix."""
    Image.init()
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS)


@dataclass(frozen=True)
class Skipped:
    """A file that is not taken.

    Attributes:
        path: path of the file.
        reason: why it is not taken, such as "hidden". Equal reasons are counted together.
    """

    path: Path
    reason: str


@dataclass(frozen=True)
class Refused:
    """A given name that yields no pictures at all.

    Attributes:
        name: the name as it was given.
        error: the reason.
    """

    name: str
    error: ImageError


@dataclass
class Inputs:
    """The pictures that files, folders and globs name.

    Attributes:
        images: the pictures, in order, each once.
        skipped: folder or glob as given -> its files that are not taken.
        refused: the given names that yield no pictures.
    """

    images: list[Path] = field(default_factory=list)
    skipped: dict[str, list[Skipped]] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)

    def notes(self) -> list[str]:
        """Return one line for each folder or glob with skipped files, counted by reason."""
        return [
            f"{name}: not taken: {_counted(skipped)}" for name, skipped in self.skipped.items() if skipped
        ]


def find_images(patterns: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return the images that files, folders and globs name, in order, each once. See `find_inputs`.

    Raises:
        ImageError: a folder or a glob has no images, or no name is given.
    """
    inputs = find_inputs(patterns)
    if inputs.refused:
        raise inputs.refused[0].error
    return inputs.images


def find_inputs(patterns: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Inputs:
    """Return the images that files, folders and globs name, and what is skipped and why.

    A folder gives its files with the suffix of an image, sorted. A glob (`**` for folders within folders)
    gives the files it matches, sorted, with any suffix. Results of this program are skipped. So are further
    names (links) of an image that is taken. A path that does not exist is kept, so that it is reported with
    the other images that cannot be read. `~` is the home folder.

    Raises:
        ImageError: no name is given.
    """
    search = _Search()
    named = list(dict.fromkeys(each(patterns)))
    for text in named:
        search.look_at(text)
    if not named:
        raise ImageError("there is nothing to segment", "name images, folders or globs")
    search.leave_out_results_of_images()
    return search.inputs


def check_address(text: str) -> None:
    """Raise ImageError if `text` is a URL."""
    if is_address(text) and not kind_of(text).is_there:
        hint = "download it first, and name the file"
        if text.lower().startswith("file://"):
            hint = f"name the file by its path: {text[len('file://') :]}"
        raise ImageError(f"{text} is a URL, and URLs are not fetched", hint)


def check_picture(path: Path) -> None:
    """Raise ImageError unless `path` is a file. Reading a pipe or a device could block forever."""
    found = kind_of(path)
    if found.is_file:
        return
    if found.kind is Kind.PIPE and is_stream(path):
        return
    if found.is_folder:
        raise ImageError(f"{path} is a folder, not a picture")
    if found.is_there:
        raise ImageError(f"{path} is {found.kind}, not a file", "save the picture in a file first")
    if found.kind is Kind.BROKEN_LINK:
        raise ImageError(f"{path} is a broken link: it leads to {_target(path)}", "fetch what it leads to")
    hint = "to read from a pipe, name /dev/stdin" if str(path) == "-" else None
    raise ImageError(f"{path} cannot be read: {found.why}", hint)


class _Search:
    """Goes through the given names. `_taken` are the images so far, by their place on the disk."""

    def __init__(self) -> None:
        self.inputs = Inputs()
        self._taken: dict[str, Path] = {}

    def look_at(self, text: str) -> None:
        try:
            if not text:
                raise ImageError("an image has no name: '' was given", "is a variable of the shell unset?")
            check_address(text)
            path = expanded(text)
            if kind_of(path).is_folder:
                self._look_into(text, Path(path))
            elif is_glob(path) and not os.path.lexists(path):
                self._look_for(text, path)
            else:
                self._take(text, Path(path))
        except ImageError as error:
            self.inputs.refused.append(Refused(text, error))

    def leave_out_results_of_images(self) -> None:
        """Skip results that were named one by one (as the shell's `*.png` does) beside their images."""
        kept = []
        for image in self.inputs.images:
            origin = results_of(image)
            if origin is not None and self._has(image.parent, origin.source or origin.file_name):
                self._skip(str(image.parent), image, _OWN)
            else:
                kept.append(image)
        self.inputs.images = kept

    def _look_into(self, text: str, folder: Path) -> None:
        try:
            inside = sorted(folder.iterdir())
        except OSError as error:
            raise ImageError(f"the folder {text} cannot be read: {reason(error)}", hint_for(error)) from error
        some = False
        for path in inside:
            why = _why_not(path)
            if why is not None:
                self._skip(text, path, why)
            else:
                some = True
                self._take(text, path)
        if not some:
            skipped = self.inputs.skipped.pop(text, [])
            there = _counted(skipped)
            hint = "of a folder, files with the suffix of an image are taken; others can be named one by one"
            if any(one.reason == "folder" for one in skipped):
                hint = (
                    f"for the folders within, give a glob: {shlex.quote(os.path.join(text, '**', '*.jpg'))}"
                )
            raise ImageError(
                f"the folder {text} has no images" + (f", only: {there}" if there else ": it is empty"), hint
            )

    def _look_for(self, text: str, pattern: str) -> None:
        matches = matches_of(pattern)
        some = False
        for path in map(Path, matches.paths):
            kind = kind_of(path).kind
            if kind not in _TAKEN:
                self._skip(text, path, kind.removeprefix("a "))
            elif results_of(path) is not None:
                self._skip(text, path, _OWN)
            else:
                some = True
                self._take(text, path)
        for closed, why in matches.closed.items():
            error = ImageError(f"the folder {closed} of {text} cannot be read: {why}")
            self.inputs.refused.append(Refused(closed, error))
        if not some and not matches.closed:
            there = _counted(self.inputs.skipped.pop(text, []))
            raise ImageError(f"{text} matches no file" + (f", only: {there}" if there else ""))

    def _take(self, text: str, path: Path) -> None:
        place = real_path(path)
        first = self._taken.setdefault(place, path)
        if first is path:
            self.inputs.images.append(path)
        elif _spelled_out(first) != _spelled_out(path):
            self._skip(text, path, f"second name of {first.name if first.parent == path.parent else first}")

    def _skip(self, text: str, path: Path, why: str) -> None:
        self.inputs.skipped.setdefault(text, []).append(Skipped(path, why))

    def _has(self, folder: Path, source: str) -> bool:
        return real_path(folder / source) in self._taken


def _why_not(path: Path) -> str | None:
    """Return why a file of a folder is not taken, or None if it is taken."""
    kind = kind_of(path).kind
    if path.name.startswith("."):
        return "hidden"
    if kind is Kind.FOLDER:
        return "folder"
    suffix = path.suffix.lower()
    if kind not in _TAKEN and suffix in suffixes():
        return kind.removeprefix("a ")
    if results_of(path) is not None:
        return _OWN
    if suffix in suffixes():
        return None
    return "HEIC" if suffix in _HEIC else f"not image {suffix or 'without suffix'}"


def _counted(skipped: Iterable[Skipped]) -> str:
    """Count by reason: "1 HEIC (convert it to JPEG), 2 not images (.txt), 1 second name of a.jpg"."""
    count = Counter(one.reason for one in skipped)
    others = {why.removeprefix("not image "): count.pop(why) for why in list(count) if "not image " in why}
    seconds = [why for why in count if why.startswith("second name of ")]
    if len(seconds) > _MOST_SECOND_NAMES:
        count["second name"] = sum(count.pop(why) for why in seconds)
    parts = [_number(number, why) for why, number in count.items()]
    if others:
        kinds = sorted(others)
        more = ", ..." if len(kinds) > _MOST_SUFFIXES else ""
        shown = ", ".join(kinds[:_MOST_SUFFIXES]) + more
        parts.append(f"{_number(sum(others.values()), 'not image')} ({shown})")
    return ", ".join(parts)


def _number(number: int, what: str) -> str:
    if what == "HEIC":
        return f"{number} HEIC (not read: convert to JPEG)"
    if number == 1 or what == "hidden":
        return f"{number} {what}"
    name, of, which = what.partition(" of ")
    return f"{number} {name}s{of}{which}"


def _target(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return "nowhere"


def _spelled_out(path: Path) -> str:
    return os.path.join(real_path(path.parent), path.name)

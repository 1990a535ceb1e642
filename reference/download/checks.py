"""Is a file the published one? By size and SHA-256, with a word about what it is instead."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from odise_trt.errors import reason

from .artefacts import Artefact
from .reporter import SILENT, Reporter

if TYPE_CHECKING:
    from hashlib import _Hash

_CHUNK = 2**20
_BEGINNING = 512


def flaw(artefact: Artefact, path: Path, reporter: Reporter = SILENT) -> str | None:
    """Return why a file is not the artefact, as the end of a sentence about it. None: it is.

    Every byte is read, unless the size or the first bytes say enough.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            other = other_kind(file.read(_BEGINNING))
        if other is not None:
            return f"is {other}"
        if artefact.bytes is not None and size != artefact.bytes:
            return f"has {size} bytes, the published file {artefact.bytes}"
        found = digest_of(path, f"checking {path.name}", reporter).hexdigest()
    except OSError as error:
        return f"cannot be read: {reason(error)}"
    return None if artefact.has_hash(found) else wrong_hash(artefact, found)


def wrong_hash(artefact: Artefact, found: str) -> str:
    """Return how a file with the hash `found` differs, as the end of a sentence about it."""
    return f"has the sha256 {found}, the published file the {artefact.hash_in_words}"


def digest_of(path: Path, what: str, reporter: Reporter = SILENT) -> _Hash:
    """Return the SHA-256 of a file, to which more can be added.

    Args:
        what: the work for the reporter.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file, reporter.counting(what, path.stat().st_size) as count:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            count(len(chunk))
    return digest


def other_kind(beginning: bytes) -> str | None:
    """Return what often comes instead of weights, told from the first bytes. None: it may be weights.

    No file of `ARTEFACTS` begins with text: they are zip archives and pickles.
    """
    if not beginning:
        return "an empty file"
    if beginning.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the file itself"
    text = beginning.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"<"):
        return "a web page, not the file"
    if text.startswith(b'{"'):
        return "a message in JSON, not the file"
    return None

"""The unfinished file of a download, `NAME.part`, and what is remembered about it, in `NAME.part.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from odise_trt.files.typed_json import MisfitError, read_as
from odise_trt.files.writing import put_in_place, write_file, writing

from .checks import digest_of
from .reporter import Reporter


@dataclass(frozen=True)
class Remembered:
    """What a host said about the file that a part is of.

    Attributes:
        url: that was asked, before redirects.
        validator: its strong ETag, or its date, to be sent with If-Range. "": it has none.
        total: bytes of the whole file; None if it is not known.
    """

    url: str
    validator: str
    total: int | None


class PartFile:
    """The bytes of a download so far, and their hash.

    Args:
        place: the path of the finished file.
        url: where the file is asked for. A part of another URL is not continued.

    Raises:
        OutputError: for all methods, a file cannot be read or written.
    """

    def __init__(self, place: Path, url: str, reporter: Reporter) -> None:
        self._place, self._url = place, url
        self.path = place.with_name(f"{place.name}.part")
        self._facts = place.with_name(f"{place.name}.part.json")
        self.remembered = Remembered(url, "", None)
        self.size = 0
        self._digest = hashlib.sha256()
        self._load(reporter)

    @property
    def sha256(self) -> str:
        """The hash of the bytes so far."""
        return self._digest.hexdigest()

    @property
    def is_whole(self) -> bool:
        """Whether all bytes are here, as far as a host has said how many there are."""
        return self.size > 0 and self.size == self.remembered.total

    def restart(self, validator: str, total: int | None) -> None:
        """Begin again with no bytes, and remember what the host says now."""
        self.remembered = Remembered(self._url, validator, total)
        self.size, self._digest = 0, hashlib.sha256()
        with writing(self.path):
            self.path.write_bytes(b"")
        write_file(self._facts, json.dumps(asdict(self.remembered)).encode())

    @contextmanager
    def appending(self) -> Iterator[BinaryIO]:
        """Open the part to add bytes with `add`."""
        with writing(self.path, _kept), self.path.open("ab") as file:
            yield file

    def add(self, file: BinaryIO, chunk: bytes) -> None:
        """Add bytes at the end of the part, which `appending` has opened."""
        file.write(chunk)
        self._digest.update(chunk)
        self.size += len(chunk)

    def finish(self) -> None:
        """Give the part the name of the finished file, when it is on the disk."""
        with writing(self._place):
            put_in_place(self.path, self._place)
            self._facts.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the part."""
        with writing(self.path):
            self.path.unlink(missing_ok=True)
            self._facts.unlink(missing_ok=True)
        self.remembered, self.size, self._digest = Remembered(self._url, "", None), 0, hashlib.sha256()

    def _load(self, reporter: Reporter) -> None:
        """Go on with the part of an earlier run, if it is of the same URL and a host can continue it."""
        with writing(self.path):
            try:
                remembered = read_as(Remembered, json.loads(self._facts.read_bytes()), "")
                size = self.path.stat().st_size
            except (FileNotFoundError, ValueError, MisfitError):
                return
            resumable = remembered.validator or size == remembered.total
            if remembered.url != self._url or not resumable or not size:
                return
            self._digest = digest_of(self.path, f"reading what {self.path.name} has", reporter)
        self.remembered, self.size = remembered, size


def _kept(error: OSError) -> str:
    return "make room, or choose another folder with --output; what was fetched is kept for the next run"

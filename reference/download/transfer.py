"""Fetches one file into its part: resumes across runs and connections, and tries again where that helps."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from reference.errors import DownloadError

from .artefacts import Artefact
from .checks import other_kind
from .connection import Answer, asking
from .part_file import PartFile
from .refusals import PassingError, not_the_file, refusal
from .reporter import Reporter

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Patience:
    """How long a transfer waits, and how often it tries.

    Attributes:
        connect, read: seconds until a connection, and until more data.
        tries: failures in a row without a new byte between them, until the transfer ends with an error.
        longest_wait: seconds that a host may ask to wait, until the transfer ends instead.
        sleep: waits so many seconds.
    """

    connect: float = 15
    read: float = 60
    tries: int = 5
    longest_wait: float = 120
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Transfer:
    """The transfer of one file into its part.

    Attributes:
        url: where the file is. Each try begins there: the addresses that hosts redirect to expire.
        part: takes the bytes.
        require_room: called with the number of bytes that are to come; raises if there is no room for them.
    """

    artefact: Artefact
    url: str
    part: PartFile
    patience: Patience
    reporter: Reporter
    require_room: Callable[[int], None]

    def run(self) -> None:
        """Fetch what the part lacks. The hash of the whole is not compared.

        Raises:
            DownloadError: a refusal, another file, or failures that did not pass. The part stays.
            OutputError: the part cannot be written.
        """
        before = most = self.part.size
        tries = 0
        while not self.part.is_whole:
            try:
                self._try()
                return
            except PassingError as error:
                tries = 1 if self.part.size > most else tries + 1
                most = max(most, self.part.size)
                wait = 2.0 ** (tries - 1) if error.wait is None else error.wait
                useless = error.only_later and most == before
                if useless or tries >= self.patience.tries or wait > self.patience.longest_wait:
                    raise
                self.reporter.note(f"{error.message}: next try in {wait:.0f} s")
                self.patience.sleep(wait)

    def _try(self) -> None:
        part, headers = self.part, {}
        if part.size and part.remembered.validator:
            headers = {"Range": f"bytes={part.size}-", "If-Range": part.remembered.validator}
        with asking(self.url, headers, self.patience.connect, self.patience.read) as answer:
            if not headers or answer.status not in (206, 416):
                self._begin(answer)
                return
            if answer.status == 206 and _continues(answer, part):
                self._require_same_file(answer)
                self._write(answer, answer.chunks())
                return
            # Nothing can come after these bytes if the file has as many.
            if answer.headers.get("Content-Range") == f"bytes */{part.size}":
                return
        self._note_restart()
        part.discard()
        self._try()

    def _begin(self, answer: Answer) -> None:
        """Write the content of an answer into the part, in place of what it has."""
        artefact, part = self.artefact, self.part
        if answer.status != 200:
            raise refusal(artefact, answer.url, answer.status, answer.headers, answer.with_token)
        self._require_same_file(answer)
        chunks = answer.chunks()
        first = next(chunks, b"")
        if kind := other_kind(first):
            raise not_the_file(artefact, answer.url, kind)
        if part.size:
            self._note_restart()
        part.restart(_validator(answer.headers), self._total(answer))
        self._write(answer, _with(first, chunks))

    def _write(self, answer: Answer, chunks: Iterator[bytes]) -> None:
        """Write what comes at the end of the part."""
        part, host = self.part, urlsplit(answer.url).hostname
        total = part.remembered.total
        if total is not None:
            self.require_room(total - part.size)
        what = f"fetching {self.artefact.name}"
        with self.reporter.counting(what, total, part.size) as count, part.appending() as file:
            for chunk in chunks:
                part.add(file, chunk)
                count(len(chunk))
                if total is not None and part.size > total:
                    raise self._other_size(answer, "long", f"more than {total} bytes")
        if total is not None and part.size < total:
            raise PassingError(
                f"{host} ended {self.artefact.file} after {part.size} of {total} bytes",
                "try again; the host or a proxy cuts it off",
            )

    def _note_restart(self) -> None:
        host, file = urlsplit(self.url).hostname, self.artefact.file
        self.reporter.note(f"{host} does not go on with {file}: it is fetched from the beginning")

    def _total(self, answer: Answer) -> int | None:
        """Return the size of the whole file by all that is known."""
        wanted = self.artefact.bytes
        if wanted is None:
            wanted = _number(answer.linked.get("x-linked-size"))
        offered = _number(answer.headers.get("Content-Length"))
        if wanted is not None and offered is not None and offered != wanted:
            word = "short" if offered < wanted else "long"
            raise self._other_size(answer, word, f"{offered} bytes, the published file has {wanted}")
        return offered if wanted is None else wanted

    def _other_size(self, answer: Answer, word: str, sizes: str) -> DownloadError:
        return DownloadError(
            f"what {urlsplit(answer.url).hostname} sends as {self.artefact.file} is too {word}: {sizes}",
            f"it is another file: see {self.artefact.page}, or try another mirror",
        )

    def _require_same_file(self, answer: Answer) -> None:
        """Compare the hash that the Hub states with the published one, and refuse what came compressed."""
        stated = answer.linked.get("x-linked-etag", "").removeprefix("W/").strip('"')
        if _SHA256.fullmatch(stated) and not self.artefact.has_hash(stated):
            raise DownloadError(
                f"another file has taken the place of {self.artefact.file}: its sha256 is {stated}, the"
                f" published file has the {self.artefact.hash_in_words}",
                f"see {self.artefact.page}, or try another mirror",
            )
        encoding = answer.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise not_the_file(self.artefact, answer.url, f"something compressed ({encoding})")


def _validator(headers: Mapping[str, str]) -> str:
    """Return what If-Range can be given. A weak ETag cannot: it may stay when bytes change."""
    etag = headers.get("ETag", "")
    return etag if etag.startswith('"') else headers.get("Last-Modified", "")


def _continues(answer: Answer, part: PartFile) -> bool:
    """Whether an answer with status 206 has the bytes that come after those of the part, of the same file."""
    match = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != part.size:
        return False
    if match[2] != "*" and part.remembered.total not in (None, int(match[2])):
        return False
    # A host that does not know If-Range sends the end of another file.
    return _validator(answer.headers) in ("", part.remembered.validator)


def _number(header: str | None) -> int | None:
    return int(header) if header is not None and header.isascii() and header.isdigit() else None


def _with(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest

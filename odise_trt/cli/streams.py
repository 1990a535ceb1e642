"""Standard output and standard error that take every character and never stop work.

A report that cannot be printed (a letter that the terminal's encoding lacks, a full disk behind `>`, a reader
that went away) must not end what it reports on. The streams are replaced once, for all who print: rich, typer
and `print` alike.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

_STANDARD_OUTPUT, _STANDARD_ERROR = 1, 2


class UnstoppableFile(io.RawIOBase):
    """A file that drops what it cannot write, and remembers why.

    Attributes:
        error: the first error; None: everything was written.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__()
        self._raw = raw
        self.error: OSError | None = None

    @property
    def lost_something(self) -> bool:
        """Whether output was lost. A reader that closed its end, as `head` does, wanted no more of it."""
        return self.error is not None and self.error.errno != errno.EPIPE

    def write(self, data: Any) -> int:
        """Write, or drop."""
        try:
            written = self._raw.write(data)
        except OSError as error:
            self.error = self.error or error
            return memoryview(data).nbytes
        # None: the file is not blocking and takes nothing now.
        return memoryview(data).nbytes if written is None else written

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """Of the file behind."""
        return self._raw.fileno()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._raw.isatty()


def protect_streams() -> UnstoppableFile | None:
    """Replace `sys.stdout` and `sys.stderr` by streams that never raise.

    Those that are closed (`>&-`, a service without a terminal) lead nowhere. No file that is opened later may
    have their numbers, for libraries in C would print into it.

    Returns:
        The file behind standard output; None where it is no file (in a notebook).
    """
    _occupy_closed()
    sys.stdout = sys.stdout or _nowhere(_STANDARD_OUTPUT)
    sys.stderr = sys.stderr or _nowhere(_STANDARD_ERROR)
    protected = _protected(sys.stdout)
    sys.stdout, output = protected if protected is not None else (sys.stdout, None)
    protected = _protected(sys.stderr)
    sys.stderr = protected[0] if protected is not None else sys.stderr
    return output


def _occupy_closed() -> None:
    while (number := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        pass
    os.close(number)


def _nowhere(number: int) -> io.TextIOWrapper:
    file = io.BufferedWriter(io.FileIO(number, "wb", closefd=False))
    return io.TextIOWrapper(file, encoding="utf-8")


def _protected(stream: Any) -> tuple[io.TextIOWrapper, UnstoppableFile] | None:
    if not isinstance(stream, io.TextIOWrapper):
        return None
    raw = getattr(stream.buffer, "raw", stream.buffer)  # python -u has no buffer between
    if not isinstance(raw, io.FileIO):
        return None
    encoding, by_line, through = stream.encoding, stream.line_buffering, stream.write_through
    stream.flush()
    file = UnstoppableFile(io.FileIO(raw.fileno(), "wb", closefd=False))
    text = io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=by_line,
        write_through=through,
    )
    return text, file

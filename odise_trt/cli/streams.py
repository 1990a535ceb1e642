"""Standard output and standard error that accept every character and never raise.

Output can fail: the terminal's encoding lacks a letter, the disk behind `>` is full, or the reader of a pipe
has closed it. This must not stop the work. The streams are replaced once, for rich, typer and `print`.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

_STANDARD_OUTPUT, _STANDARD_ERROR = 1, 2


class UnstoppableFile(io.RawIOBase):
    """A file that drops data it cannot write, and keeps the first error.

    Attributes:
        error: the first error. None: everything was written.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__()
        self._raw = raw
        self.error: OSError | None = None

    @property
    def lost_something(self) -> bool:
        """Whether output was lost. A reader that closes the pipe early, as `head` does, does not count."""
        return self.error is not None and self.error.errno != errno.EPIPE

    def write(self, data: Any) -> int:
        """Write the data or drop it. Return its length in both cases."""
        try:
            written = self._raw.write(data)
        except OSError as error:
            self.error = self.error or error
            return memoryview(data).nbytes
        # None: the file is non-blocking and cannot take data now.
        return memoryview(data).nbytes if written is None else written

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor of the file behind this one."""
        return self._raw.fileno()

    def isatty(self) -> bool:
        """Whether the file behind this one is a terminal."""
        return self._raw.isatty()


def protect_streams() -> UnstoppableFile | None:
    """Replace `sys.stdout` and `sys.stderr` by streams that never raise.

    Closed streams (`>&-`, a service without a terminal) are opened on the null device. This occupies their
    descriptors. Otherwise C libraries would print into the next file that is opened.

    Returns:
        The file behind standard output. None if there is no file behind it (in a notebook).
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
    raw = getattr(stream.buffer, "raw", stream.buffer)  # with python -u there is no buffer
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

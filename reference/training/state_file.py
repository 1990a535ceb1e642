"""Files of `torch.save` with the state of a training: tensors and plain data."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch

from odise_trt.errors import reason


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write `path`; tensors go to the file one by one, so no copy of them all is in memory.

    Raises:
        OSError: the disk is full, or refuses otherwise.
    """
    with path.open("wb") as file:
        stream = _Stream(file)
        torch.save(state, cast("IO[bytes]", stream))
        if stream.refused is not None:
            raise stream.refused


def read_state(path: Path) -> Any:
    """Read a file of `write_state`; all tensors are on the CPU, wherever they were.

    Raises:
        Exception: it cannot be read; PyTorch raises a dozen kinds for files that are damaged or cut off.
    """
    return torch.load(path, map_location="cpu", weights_only=True)


def why_unreadable(error: Exception) -> str:
    """One line about an error of `read_state`, for people."""
    if isinstance(error, OSError):
        return reason(error)
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


class _Stream:
    """Takes everything, and remembers what the operating system refused.

    PyTorch writes on while an error of the file passes through it, and then reports a fault of its own.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.refused: OSError | None = None

    def write(self, content: bytes | memoryview) -> int:
        """Write, or drop what comes after the first error."""
        if self.refused is None:
            try:
                self._file.write(content)
            except OSError as error:
                self.refused = error
        return len(content)

    def flush(self) -> None:
        """Do nothing: closing the file does it."""

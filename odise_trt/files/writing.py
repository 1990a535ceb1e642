"""What the operating system refuses while something is written: one error, which names the thing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import OutputError, hint_for, reason


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what the operating system refuses in the block into an OutputError about `path`.

    Raises:
        OutputError: the disk is full, `path` may not be written, and the like.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{os.fsdecode(path)} cannot be written: {reason(error)}", hint_for(error)
        ) from error

"""Pillow warns of odd metadata on standard error, with paths of its own files; nobody here can use that."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image


class _InThisThread(threading.local):
    """Whether this thread is reading a picture, and how many deep."""

    depth = 0


_reading = _InThisThread()


class _OfPillowNow(type):
    def __subclasscheck__(cls, category: type) -> bool:
        return _reading.depth > 0 and issubclass(category, UserWarning | Image.DecompressionBombWarning)


class _PillowsWarning(Warning, metaclass=_OfPillowNow):
    """The category of all that Pillow warns of while this thread reads a picture, and of nothing else."""


@contextmanager
def silence() -> Iterator[None]:
    """Within it, none of Pillow's warnings are shown that arise in this thread."""
    # `warnings.catch_warnings` would do it for all threads, and two of them would restore each other's
    # filters. This filter stays, and is of no effect outside.
    if not warnings.filters or warnings.filters[0][2] is not _PillowsWarning:
        warnings.simplefilter("ignore", category=_PillowsWarning)
    _reading.depth += 1
    try:
        yield
    finally:
        _reading.depth -= 1

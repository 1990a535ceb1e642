"""Hides Pillow's warnings about odd metadata. They name Pillow's own files and do not help the user."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image


class _InThisThread(threading.local):
    """The nesting depth of picture reads in this thread."""

    depth = 0


_reading = _InThisThread()


class _OfPillowNow(type):
    def __subclasscheck__(cls, category: type) -> bool:
        return _reading.depth > 0 and issubclass(category, UserWarning | Image.DecompressionBombWarning)


class _PillowsWarning(Warning, metaclass=_OfPillowNow):
    """The category of all warnings of Pillow while this thread reads a picture, and of no others."""


@contextmanager
def silence() -> Iterator[None]:
    """Hide Pillow's warnings of this thread within the block."""
    # `warnings.catch_warnings` acts on all threads, and two threads would restore each other's filters. This
    # filter stays installed, and has no effect outside the block.
    if not warnings.filters or warnings.filters[0][2] is not _PillowsWarning:
        warnings.simplefilter("ignore", category=_PillowsWarning)
    _reading.depth += 1
    try:
        yield
    finally:
        _reading.depth -= 1

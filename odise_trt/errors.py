"""Errors of the product. Each names the thing at fault and says what to do about it.

The command line prints the name of the class and `str(error)`, exits with status 1, and leaves nothing
half-written behind.
"""

from __future__ import annotations

import errno
import os
import sys
import warnings

_HINTS = {
    errno.ENOSPC: "make room, or choose another place",
    errno.EDQUOT: "the quota is used up: make room, or choose another place",
    errno.EROFS: "the file system is read-only: choose another place",
    errno.EACCES: "check the permissions",
    errno.EPERM: "check the owner and the permissions",
    errno.ENAMETOOLONG: "use a shorter name",
    errno.EMFILE: "raise the limit of open files: ulimit -n",
    errno.ENFILE: "the machine has too many files open: close other programs",
    errno.ENOMEM: "there is not enough memory: close other programs, or do less at once",
}


def reason(error: OSError) -> str:
    """Why the operating system refused, in its words; libraries make such errors without them."""
    if error.strerror:
        return error.strerror
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__


def hint_for(error: OSError) -> str | None:
    """What to do about an error of the operating system, where its cause alone tells."""
    return _HINTS.get(error.errno or 0)


class OdiseError(Exception):
    """Base of every error this product raises on purpose.

    Args:
        message: what is wrong, and with which thing.
        hint: what to do next; shown on a line of its own.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  {self.hint}"


class ArgumentError(OdiseError, ValueError):
    """A value given to a function that makes no sense there: a threshold of 5, a task that does not exist."""


class ImageError(OdiseError):
    """An input that cannot be read as an image, or that is too small or too large."""


class VocabularyError(OdiseError):
    """A vocabulary that cannot be read, is empty, or has a name the tokenizer cannot hold."""


class OdiseWarning(UserWarning):
    """Base of what this product warns of: work goes on, and a person may want it otherwise.

    The command line prints the text in yellow, each once; in Python these are warnings like others.

    Args:
        message: what was done, with which thing.
        hint: how to have it otherwise, or how to say that it is meant so.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message}\n  {hint}")


class VocabularyWarning(OdiseWarning):
    """A vocabulary that can be read in two ways, and was read in the one it says."""


def notify(warning: OdiseWarning) -> None:
    """Warn, and name the line outside of this package that is to blame."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(f"{__package__}."):
        frame, level = frame.f_back, level + 1
    warnings.warn(warning, stacklevel=level)


class BundleError(OdiseError):
    """A bundle that is missing, altered, of another format, or built for another machine."""


class BackendError(OdiseError):
    """A backend that is not installed, finds no device, or fails to run an engine."""


class OutputError(OdiseError):
    """A place that results or caches cannot be written to.

    Attributes:
        refused: the error of the operating system that stopped the writing; None: it was something else.
    """

    refused: OSError | None = None


class WeightsError(OdiseError):
    """Weights that cannot be read or do not fit the preset."""


class ExportError(OdiseError):
    """A stage that cannot be exported or built."""


class ParityError(OdiseError):
    """A built stage whose outputs are further from the reference than its tolerance."""

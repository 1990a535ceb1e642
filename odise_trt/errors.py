"""Errors of the product. Each names its cause and says what to do about it.

The command line prints the name of the class and `str(error)`, and exits with status 1. It leaves no
half-written files.
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
    """Return the operating system's reason in words. Some libraries raise such errors without them."""
    if error.strerror:
        return error.strerror
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__


def hint_for(error: OSError) -> str | None:
    """Return what to do about an error of the operating system, if its cause is enough to know."""
    return _HINTS.get(error.errno or 0)


class OdiseError(Exception):
    """Base of every error this product raises on purpose.

    Args:
        message: what is wrong, and where.
        hint: what to do next. It is shown on a line of its own.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  {self.hint}"


class ArgumentError(OdiseError, ValueError):
    """A function was given an invalid value, such as a threshold of 5 or a task that does not exist."""


class ImageError(OdiseError):
    """An input that cannot be read as an image, or that is too small or too large."""


class VocabularyError(OdiseError):
    """A vocabulary that cannot be read, is empty, or has a name the tokenizer cannot hold."""


class OdiseWarning(UserWarning):
    """Base of the warnings of this product. Work goes on, but the user may want another behaviour.

    The command line prints each text once, in yellow. In Python these are ordinary warnings.

    Args:
        message: what was done, and with what.
        hint: how to get the other behaviour, or how to confirm this one.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message}\n  {hint}")


class VocabularyWarning(OdiseWarning):
    """A vocabulary can be read in two ways. The message says which one was used."""


class DeviceMemoryWarning(OdiseWarning):
    """A GPU has too little free memory for what was asked. The message says what was done instead."""


def notify(warning: OdiseWarning) -> None:
    """Issue a warning that names the calling line outside of this package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(f"{__package__}."):
        frame, level = frame.f_back, level + 1
    warnings.warn(warning, stacklevel=level)


class BundleError(OdiseError):
    """A bundle that is missing, altered, of another format, or built for another machine."""


class BackendError(OdiseError):
    """A backend that is not installed, finds no device, or fails to run an engine."""


class DeviceMemoryError(BackendError):
    """A GPU that has too little free memory."""


class OutputError(OdiseError):
    """A place that results or caches cannot be written to.

    Attributes:
        refused: the error of the operating system that stopped the writing. None: the cause was another one.
    """

    refused: OSError | None = None


class FeatureError(OdiseError):
    """A feature that does not exist, or that cannot be had, clustered or read as requested."""


class WeightsError(OdiseError):
    """Weights that cannot be read or do not fit the preset."""


class ExportError(OdiseError):
    """A stage that cannot be exported or built."""


class ParityError(OdiseError):
    """A built stage whose outputs are further from the reference than its tolerance."""


def error_of(image: object, error: Exception) -> OdiseError:
    """Turn any error of one image into an error of the product that names the image.

    Args:
        image: what messages call the image.
        error: what was raised while it was read, segmented or saved.
    """
    if isinstance(error, ImageError | OutputError):
        return error
    if isinstance(error, MemoryError):
        made: OdiseError = ImageError(
            f"{image} needs more memory than there is", "shrink it first, or close other programs"
        )
    elif isinstance(error, OdiseError):
        made = type(error)(f"{image}: {error.message}", error.hint)
    elif isinstance(error, OSError):
        made = ImageError(f"{image} could not be segmented: {reason(error)}")
    else:
        first = (str(error).strip().splitlines() or [""])[0]
        what = f"{type(error).__name__}: {first}" if first else type(error).__name__
        made = OdiseError(
            f"{image} could not be segmented: {what}", "this is a fault of odise-trt, please report it"
        )
    made.__cause__ = error
    return made

"""The errors of the toolkit, and how several of them become one message."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from odise_trt.errors import OdiseError, WeightsError

#: Most errors that one message lists; the rest are counted.
_LISTED = 50


class AblationError(OdiseError):
    """An ablation that does not exist, does not fit the model, or lacks what it reads."""


class DatasetError(OdiseError):
    """A dataset is incomplete, has another layout, or contradicts itself."""


class DeviceError(OdiseError):
    """A device for PyTorch does not exist, or several processes were given the same one."""


class DownloadError(WeightsError):
    """A published file that was not fetched: no consent, no network, a refusal, or another file came."""


class PresetError(OdiseError):
    """A preset that does not exist."""


class TrainingError(OdiseError):
    """A training run that cannot start, go on, or be resumed."""


class DivergedError(TrainingError):
    """Numbers are not finite any more; the same recipe would fail again."""


class LoaderError(TrainingError):
    """The processes that read images were lost or cannot be started."""


def listed(errors: Sequence[OdiseError]) -> str:
    """Format errors as lines of a message. A hint shared by consecutive errors follows the last of them."""
    lines = []
    for hint, alike in groupby(errors[:_LISTED], key=lambda error: error.hint):
        lines += [f"\n    {error.message}" for error in alike]
        if hint is not None:
            lines.append(f"\n      {hint}")
    if len(errors) > _LISTED:
        lines.append(f"\n    and {len(errors) - _LISTED} more")
    return "".join(lines)


def counted(number: int, what: str) -> str:
    """Return a number with its noun: `1 image`, `2 images`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def out_of_memory(name: str) -> OdiseError:
    """Return the error for one item, as an image, that does not fit into memory."""
    return OdiseError(f"{name} needs more memory than there is", "close other programs, or shrink it")

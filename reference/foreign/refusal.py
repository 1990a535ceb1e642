"""The errors for files that are refused."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from odise_trt.errors import WeightsError

AGAIN = "download it again"
SAVE_AGAIN = (
    "if you trust it, load it with the program that wrote it, and save its tensors alone:"
    " torch.save(model.state_dict(), NEW)"
)
#: Most names in one message.
_LISTED = 20


def damaged(path: Path, why: str) -> WeightsError:
    """Return the error for a file that is not as its program writes it."""
    return WeightsError(f"{path} is cut off or damaged: {why}", AGAIN)


def unusual(path: Path, why: str) -> WeightsError:
    """Return the error for a file that no program writes by accident, or that needs more than we read."""
    return WeightsError(f"{path} is refused: {why}; nothing in it was run", SAVE_AGAIN)


def quoted(names: Iterable[str]) -> str:
    """Return names of a file for a message. What would steer a terminal is escaped."""
    names = list(names)
    text = ", ".join(ascii(name[:200])[1:-1] for name in names[:_LISTED])
    return f"{text} and {len(names) - _LISTED} more" if len(names) > _LISTED else text

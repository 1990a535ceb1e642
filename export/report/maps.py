"""Pictures of one output: the reference, what was found, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .colors import RISING, SAME_OR_NOT, SIGNED, index_of, indexed, largest, of_ids, png, sampled

#: An error map is dark at this share of the typical value (root mean square) of the reference or below, and
#: light at the typical value or above.
_DARK = -8.0


@dataclass(frozen=True)
class Panel:
    """A picture with its caption."""

    caption: str
    png: bytes


def is_map(shape: Sequence[int | str]) -> bool:
    """Whether the last two of the declared sizes are those of a picture: both depend on the input."""
    return len(shape) >= 2 and all(isinstance(size, str) for size in shape[-2:])


def draw_numbers(
    found: np.ndarray, expected: np.ndarray, typical: float, what: str
) -> tuple[str, tuple[Panel, ...]]:
    """Draw maps of numbers.

    Args:
        found, expected: float (..., H, W).
        typical: root mean square of `expected`.
        what: what made `found`, for its caption.

    Returns:
        Which of the planes is drawn, the one with the largest error, and its pictures.
    """
    planes, wanted = (array.reshape(-1, *array.shape[-2:]) for array in (found, expected))
    squares = np.zeros(planes.shape[1:], np.float64)
    worst, largest_sum = 0, -1.0
    with np.errstate(invalid="ignore", over="ignore"):
        for place, (one, other) in enumerate(zip(planes, wanted, strict=True)):
            square = (one.astype(np.float64) - other.astype(np.float64)) ** 2
            squares += square
            total = float(np.nan_to_num(square, nan=np.inf).sum())
            if total > largest_sum:
                worst, largest_sum = place, total
        error = np.abs(planes[worst].astype(np.float64) - wanted[worst])
        overall = np.sqrt(squares / len(planes))
    plane = wanted[worst]
    low, high = float(plane.min()), float(plane.max())
    palette = RISING
    if wanted.min() < 0:
        palette, bound = SIGNED, max(abs(low), abs(high))
        low, high = -bound, bound
    panels = [
        Panel(f"reference, {low:.3g} to {high:.3g}", png(indexed(sampled(plane), low, high), palette)),
        Panel(f"{what}, same colours", png(indexed(sampled(planes[worst]), low, high), palette)),
        Panel("error", _error(error, typical)),
    ]
    if len(planes) > 1:
        panels.append(Panel(f"error of all {len(planes)}", _error(overall, typical)))
    return _place(worst, found.shape[:-2]), tuple(panels)


def _error(error: np.ndarray, typical: float) -> bytes:
    scale = typical or 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        decades = np.log10(np.where(error == 0, 0.0, error) / scale)
    decades = np.where(error == 0, _DARK, decades)
    decades = np.where(np.isfinite(error), decades, np.inf)
    return png(indexed(largest(decades), _DARK, 0.0), RISING)


def draw_ids(
    found: np.ndarray, expected: np.ndarray, undecided: np.ndarray | None, what: str
) -> tuple[str, tuple[Panel, ...]]:
    """Draw maps of whole numbers, with a colour for each.

    Args:
        found, expected: (..., H, W).
        undecided: bool of the same shape, where rounding decides. None: nowhere.
        what: what made `found`, for its caption.

    Returns:
        Which of the planes is drawn, the one that differs most, and its pictures.
    """
    shape = (-1, *found.shape[-2:])
    planes, wanted = found.reshape(shape), expected.reshape(shape)
    open_ = np.zeros_like(planes, bool) if undecided is None else undecided.reshape(shape)
    worst = int((planes != wanted).sum((1, 2)).argmax())
    ids = np.unique(np.stack([planes[worst], wanted[worst]]))
    colors = of_ids(ids.tolist())
    differs, where = planes[worst] != wanted[worst], open_[worst]
    # Where a block is drawn as one pixel, what rounding does not explain hides what it does.
    state = np.where(differs & ~where, 2, differs.astype(np.uint8))
    shown = np.array([0, 2, 1], np.uint8)[largest(state)]
    panels = (
        Panel("reference", png(index_of(sampled(wanted[worst]), ids), colors)),
        Panel(what, png(index_of(sampled(planes[worst]), ids), colors)),
        Panel(
            f"{np.count_nonzero(differs & ~where)} differ (red), {np.count_nonzero(differs & where)} where"
            " rounding decides (yellow)",
            png(shown, SAME_OR_NOT),
        ),
    )
    return _place(worst, found.shape[:-2]), panels


def _place(worst: int, leading: tuple[int, ...]) -> str:
    """Return where a plane is, like `[0, 17] of (1, 32)`."""
    if not leading or np.prod(leading) == 1:
        return ""
    where = [int(index) for index in np.unravel_index(worst, leading)]
    return f"{where} of {leading}"

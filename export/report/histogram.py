"""How large errors are: how many elements have which, drawn as SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

#: Errors are counted in half decades between these powers of ten, relative to the typical value.
_FIRST, _LAST = -10, 1
_BINS = 2 * (_LAST - _FIRST)
#: Of more elements, every n-th is counted.
_MOST = 2**22
_WIDTH, _HEIGHT, _FOOT, _LEFT = 430, 130, 18, 34
_FOUND = 'stroke="#1d2433" stroke-width="2"'
_ALLOWED = 'stroke="#cf3b3b" stroke-width="2" stroke-dasharray="4 3"'


@dataclass(frozen=True)
class Histogram:
    """Errors of one output.

    Attributes:
        counts: elements per half decade of |error| / root mean square of the reference, from 1e-10 to 10. The
            first one has smaller ones, the last one larger ones.
        equal: elements that do not differ at all.
        not_finite: elements that are not finite.
        step: every step-th element was counted.
    """

    counts: tuple[int, ...]
    equal: int
    not_finite: int
    step: int


def histogram(found: np.ndarray, expected: np.ndarray, typical: float) -> Histogram:
    """Count errors.

    Args:
        found, expected: of the same shape.
        typical: root mean square of `expected`.
    """
    step = max(1, -(-found.size // _MOST))
    one, other = (array.reshape(-1)[::step].astype(np.float64) for array in (found, expected))
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(one - other) / (typical or 1.0)
    finite = np.isfinite(error)
    some = error[finite & (error > 0)]
    places = np.clip(np.floor(2 * (np.log10(some) - _FIRST)), 0, _BINS - 1).astype(np.int64)
    counts = np.bincount(places, minlength=_BINS)
    return Histogram(
        tuple(counts.tolist()),
        int(np.count_nonzero(finite) - some.size),
        int(error.size - np.count_nonzero(finite)),
        step,
    )


def draw(found: Histogram, relative_l2: float, tolerance: float) -> str:
    """Return an SVG: both axes are logarithmic; a line is the relative L2, a dashed one the tolerance."""
    top = max(1.0, math.log10(max(1, *found.counts)))
    width = (_WIDTH - _LEFT) / _BINS
    parts = []
    for place, count in enumerate(found.counts):
        if count:
            # One element is a sliver, not nothing.
            height = max(2.0, _HEIGHT * math.log10(count) / top)
            power = _FIRST + place / 2
            box = f'x="{_LEFT + place * width:.1f}" y="{_HEIGHT - height:.1f}" width="{width - 1:.1f}"'
            parts.append(
                f'<rect fill="#8fb7da" {box} height="{height:.1f}">'
                f"<title>{count} from 1e{power:g}</title></rect>"
            )
    parts += [
        f'<text text-anchor="middle" x="{_x(10.0**power):.1f}" y="{_HEIGHT + 14}">1e{power}</text>'
        for power in range(_FIRST, _LAST, 2)
    ]
    for power in range(0, int(top) + 1, 2):
        y = _HEIGHT - _HEIGHT * power / top
        parts.append(f'<text text-anchor="end" x="{_LEFT - 5}" y="{max(9.0, y):.1f}">1e{power}</text>')
    for value, line in ((relative_l2, _FOUND), (tolerance, _ALLOWED)):
        if value > 0:
            parts.append(f'<path {line} d="M{_x(value):.1f} 0V{_HEIGHT}"/>')
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT + _FOOT}" width="{_WIDTH}" height="{_HEIGHT + _FOOT}"'
    return (
        f'<svg {size} role="img"><path class="axis" d="M{_LEFT} {_HEIGHT}H{_WIDTH}"/>{"".join(parts)}</svg>'
    )


def words(found: Histogram) -> str:
    """Return what the bars do not show."""
    some = f", every {found.step}th element" if found.step > 1 else ""
    broken = f", {found.not_finite} not finite" if found.not_finite else ""
    total = sum(found.counts) + found.equal + found.not_finite
    return f"{total} elements{some}: {found.equal} equal{broken}"


def _x(value: float) -> float:
    power = min(max(math.log10(value), _FIRST), _LAST) if math.isfinite(value) else _LAST
    return _LEFT + (_WIDTH - _LEFT) * (power - _FIRST) / (_LAST - _FIRST)

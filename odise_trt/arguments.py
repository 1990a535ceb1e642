"""What the functions a person calls hold their arguments against, before any work."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterable
from typing import Any

from .errors import ArgumentError


def share(name: str, value: Any) -> float:
    """A threshold, as a number from 0 to 1.

    Raises:
        ArgumentError: another number, NaN, or no number.
    """
    # True is a number in Python; who gives it means something else.
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ArgumentError(f"{name} must be a number from 0 to 1, not {value!r:.80}")
    number = float(value)
    if math.isnan(number) or not 0 <= number <= 1:
        raise ArgumentError(f"{name} must be from 0 to 1, not {value!r:.80}")
    return number


def count(name: str, value: Any, most: int) -> int:
    """A whole number from 1 to `most`.

    Raises:
        ArgumentError: another number, or no whole number.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if isinstance(value, bool) or not 1 <= number <= most:
        raise ArgumentError(f"{name} must be a whole number from 1 to {most}, not {value!r:.80}")
    return number


def names(name: str, value: Any, choices: tuple[str, ...]) -> tuple[str, ...]:
    """One or several of `choices`, as a text or an iterable of texts.

    Raises:
        ArgumentError: none, or another.
    """
    given = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (value,)
    for one in given:
        if not isinstance(one, str) or one not in choices:
            raise ArgumentError(f"{name} must be one of {', '.join(choices)}, not {one!r:.80}")
    if not given:
        raise ArgumentError(f"no {name} is given", f"there are {', '.join(choices)}")
    return given

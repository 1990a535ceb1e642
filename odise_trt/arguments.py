"""Checks of the arguments of public functions. They run before any work begins."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterable
from typing import Any

from .errors import ArgumentError


def share(name: str, value: Any) -> float:
    """Return a threshold as a number from 0 to 1.

    Raises:
        ArgumentError: the value is outside 0 to 1, is NaN, or is not a number.
    """
    # True is a number in Python. A caller who passes it means something else.
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ArgumentError(f"{name} must be a number from 0 to 1, not {value!r:.80}")
    number = float(value)
    if math.isnan(number) or not 0 <= number <= 1:
        raise ArgumentError(f"{name} must be from 0 to 1, not {value!r:.80}")
    return number


def count(name: str, value: Any, most: int) -> int:
    """Return a whole number from 1 to `most`.

    Raises:
        ArgumentError: the value is out of range, or is not a whole number.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if isinstance(value, bool) or not 1 <= number <= most:
        raise ArgumentError(f"{name} must be a whole number from 1 to {most}, not {value!r:.80}")
    return number


def name_of(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """Return one of `choices`.

    Raises:
        ArgumentError: the value is none of them.
    """
    if not isinstance(value, str) or value not in choices:
        raise ArgumentError(f"{name} must be one of {', '.join(choices)}, not {value!r:.80}")
    return value


def names(name: str, value: Any, choices: tuple[str, ...]) -> tuple[str, ...]:
    """Return one or several of `choices`, given as a text or an iterable of texts.

    Raises:
        ArgumentError: no name is given, or one that is not in `choices`.
    """
    given = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (value,)
    if not given:
        raise ArgumentError(f"no {name} is given", f"there are {', '.join(choices)}")
    return tuple(name_of(name, one, choices) for one in given)

"""Reads the steps of a pickle, of which none is carried out."""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from typing import Any

from reference.foreign.descriptions import Refused

#: Steps that name a class or function.
NAMING = frozenset({"GLOBAL", "INST"})
_MOST_STEPS = 400_000


def read_steps(pickle: bytes) -> Iterator[tuple[str, Any]]:
    """Yield the name and the argument of each step. The argument of `NAMING` steps is "module.name".

    Raises:
        Refused: it has too many steps, or something follows the last one.
        ValueError: it is cut off, or no pickle.
    """
    place = -1
    for number, (code, argument, at) in enumerate(pickletools.genops(pickle)):
        if number >= _MOST_STEPS:
            raise Refused(f"its pickle has more than {_MOST_STEPS} steps")
        place = at or 0
        yield code.name, _name(pickle, place) if code.name in NAMING else argument
    if place != len(pickle) - 1:
        raise Refused("something follows its pickle")


def _name(pickle: bytes, place: int) -> str:
    """Return the name as PyTorch will read it. pickletools undoes escapes, which PyTorch does not."""
    middle = pickle.index(b"\n", place)
    end = pickle.index(b"\n", middle + 1)
    name = pickle[place + 1 : middle] + b"." + pickle[middle + 1 : end]
    return name.decode("ascii", "backslashreplace")

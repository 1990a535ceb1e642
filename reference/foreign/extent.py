"""Whether a pickle describes a small structure of data, where what is shared counts wherever it stands."""

from __future__ import annotations

from collections.abc import Iterator

from reference.foreign.descriptions import Called, Described, Name, Ordered, Refused, Storage

#: Levels of containers in containers. A TorchScript module is two levels.
_MOST_LEVELS = 64
_MOST_VALUES = 1_000_000


def check_extent(top: object) -> None:
    """Check that whoever walks through a structure comes to an end, and finds data only.

    Raises:
        Refused: it holds itself, is too deep, has too many values, or has a class, a function, a bare storage
            or hooks of a tensor among them.
    """
    _Walk().extent(top, 0)


class _Walk:
    """Visits every value once, and counts it wherever it stands."""

    def __init__(self) -> None:
        #: By identity: how many values are in it, and how many levels. None: it is being visited.
        self._known: dict[int, tuple[int, int] | None] = {}

    def extent(self, value: object, level: int) -> tuple[int, int]:
        found = self._known.get(id(value), (0, 0))
        if found is None:
            raise Refused("its pickle describes something that holds itself")
        values, levels = found
        if not values:
            values, levels = self._visited(value, level)
        if level + levels > _MOST_LEVELS:
            raise Refused(f"its pickle has more than {_MOST_LEVELS} levels")
        return values, levels

    def _visited(self, value: object, level: int) -> tuple[int, int]:
        parts = list(_parts(value))
        if not parts:
            return 1, 0
        if level >= _MOST_LEVELS:
            raise Refused(f"its pickle has more than {_MOST_LEVELS} levels")
        self._known[id(value)] = None
        values, levels = 1, 0
        for part in parts:
            more, deeper = self.extent(part, level + 1)
            values, levels = values + more, max(levels, deeper + 1)
        if values > _MOST_VALUES:
            raise Refused(f"its pickle has more than {_MOST_VALUES} values")
        self._known[id(value)] = values, levels
        return values, levels


def _parts(value: object) -> Iterator[object]:
    if isinstance(value, Name | Storage):
        raise Refused("its pickle has a class, a function or a bare storage in the place of data")
    if isinstance(value, Described) and value.hooks:
        raise Refused("a tensor in it has hooks")
    if isinstance(value, list | tuple):
        yield from value
    if isinstance(value, dict):
        yield from value.values()
    if isinstance(value, Called | Ordered) and value.state is not None:
        yield value.state

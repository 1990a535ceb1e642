"""How large a structure is that a pickle describes, when all that it shares is counted wherever it stands."""

from __future__ import annotations

from collections.abc import Iterator

from reference.foreign.descriptions import Called, Ordered, Refused

#: Levels of containers in containers. A TorchScript module is two levels.
_MOST_LEVELS = 64
_MOST_VALUES = 1_000_000


def check_extent(top: object) -> None:
    """Check that whoever walks through a structure comes to an end.

    Raises:
        Refused: it holds itself, is too deep, or has too many values.
    """
    sizes: dict[int, int] = {}

    def size(value: object, level: int) -> int:
        if id(value) in sizes:
            if sizes[id(value)] < 0:
                raise Refused("its pickle describes something that holds itself")
            return sizes[id(value)]
        if level > _MOST_LEVELS:
            raise Refused(f"its pickle has more than {_MOST_LEVELS} levels")
        total, parts = 1, list(_parts(value))
        if parts:
            sizes[id(value)] = -1
            total += sum(size(part, level + 1) for part in parts)
            if total > _MOST_VALUES:
                raise Refused(f"its pickle has more than {_MOST_VALUES} values")
            sizes[id(value)] = total
        return total

    size(top, 0)


def _parts(value: object) -> Iterator[object]:
    if isinstance(value, list | tuple):
        yield from value
    if isinstance(value, dict):
        yield from value.values()
    if isinstance(value, Called):
        yield value.arguments
    if isinstance(value, Called | Ordered) and value.state is not None:
        yield value.state

"""What the pickle of a weight file describes: storages, tensors, and objects of foreign classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from reference.foreign import names as known
from reference.foreign.refusal import quoted

_MOST_DIMENSIONS = 16
#: Levels of containers in containers. A TorchScript module is two levels.
_MOST_LEVELS = 64
#: Values in all containers, where one that stands in two places counts twice.
_MOST_VALUES = 1_000_000
_STORAGE_FIELDS = 5


class Refused(Exception):  # noqa: N818
    """What a pickle does that no file of weights does."""


@dataclass(frozen=True, eq=False)
class Name:
    """A class or function, by its full name."""

    full: str


@dataclass(frozen=True)
class Storage:
    """The numbers that tensors share.

    Attributes:
        key: the entry is `data/<key>`.
        count: of numbers.
    """

    key: str
    dtype: str
    count: int

    @property
    def item_size(self) -> int:
        """Bytes of one number."""
        return known.ITEM_SIZES[self.dtype]


@dataclass(frozen=True, eq=False)
class Described:
    """A tensor, whose numbers lie in its storage."""

    storage: Storage


class Ordered(dict[Any, Any]):
    """An OrderedDict. Its state is the versions of modules."""

    state: Any = None
    __hash__ = object.__hash__  # type: ignore[assignment]


@dataclass(eq=False)
class Called:
    """What a function, or a class without arguments, returns."""

    name: str
    arguments: tuple[Any, ...] = ()
    state: Any = field(default=None)

    def takes_state(self, state: object) -> bool:
        """Whether this may get its state, which it gets once."""
        if self.state is not None:
            return False
        if self.name.startswith(known.SCRIPT_CLASSES):
            return type(state) is dict and all(type(key) is str for key in state)
        return self.name in known.OF_NUMPY and type(state) is tuple


def storage(identity: object, sizes: Mapping[str, int]) -> Storage:
    """Return the storage of a persistent id, ("storage", class, key, device, count).

    Args:
        sizes: key -> bytes of its data in the file.

    Raises:
        Refused: it is another id, or claims more than the file holds.
    """
    if type(identity) is not tuple or len(identity) != _STORAGE_FIELDS or not _is_storage(identity):
        raise Refused("its pickle refers to data in an unusual way")
    _, cls, key, _, count = identity
    if cls.full not in known.STORAGES:
        raise Refused(f"its pickle has a storage of the class {quoted([cls.full])}")
    found = Storage(key, known.STORAGES[cls.full], count)
    if key not in sizes:
        raise Refused(f"the data of its storage {quoted([key])} are missing")
    if not 0 <= count * found.item_size <= sizes[key]:
        raise Refused(f"its storage {quoted([key])} claims {count} numbers, the file has {sizes[key]} bytes")
    return found


def tensor(arguments: tuple[Any, ...]) -> Described:
    """Return the tensor that `_rebuild_tensor_v2` would make of these arguments.

    Raises:
        Refused: it reaches beyond its storage, or repeats its numbers.
    """
    if len(arguments) not in (6, 7):
        raise Refused("its pickle describes a tensor in an unusual way")
    held, offset, size, stride, needs_grad, hooks, *metadata = arguments
    usual = (
        type(held) is Storage
        and _is_count(offset)
        and _are_counts(size)
        and _are_counts(stride)
        and len(size) == len(stride) <= _MOST_DIMENSIONS
        and type(needs_grad) is bool
        and (hooks is None or (isinstance(hooks, dict) and not hooks))
        and all(one is None or one == {} for one in metadata)
    )
    if not usual:
        raise Refused("its pickle describes a tensor in an unusual way")
    count, reach = 1, offset
    for length, step in zip(size, stride, strict=True):
        count *= length
        reach += (length - 1) * step
    if count and (reach >= held.count or count > held.count):
        raise Refused(
            f"a tensor of shape {size} claims more than its storage {quoted([held.key])}, which has"
            f" {held.count} numbers"
        )
    if max((*size, *stride, offset), default=0) > 2**48:
        raise Refused("a tensor in it has an impossible shape")
    return Described(held)


def check_size(top: object) -> None:
    """Check that a structure is finite and small, however its parts are shared.

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


def _is_storage(identity: tuple[Any, ...]) -> bool:
    kind, cls, key, device, count = identity
    return (
        kind == "storage"
        and isinstance(cls, Name)
        and type(key) is str
        and type(device) is str
        and _is_count(count)
    )


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _are_counts(values: object) -> bool:
    return type(values) is tuple and all(map(_is_count, values))

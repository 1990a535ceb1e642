"""What the pickle of a weight file describes: storages, tensors, and objects of foreign classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from reference.foreign import names as known
from reference.foreign.refusal import quoted

_MOST_DIMENSIONS = 16
#: Largest number in a shape.
_MOST = 2**48
#: Types of keys of dictionaries and of members of sets: hashing them takes no time.
PLAIN = (str, int, float, bool, bytes, type(None))
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
    """A tensor, whose numbers lie in its storage. A later step of the pickle could still fill its hooks."""

    storage: Storage
    hooks: Any


class Ordered(dict[Any, Any]):
    """An OrderedDict. Its state is the versions of modules."""

    state: Any = None


@dataclass(eq=False)
class Called:
    """What a function or a class returns. Its arguments are gone: it is inert, or has only plain ones."""

    name: str
    state: Any = None

    def takes_state(self, state: object) -> bool:
        """Whether this may get its state, which it gets once."""
        if self.state is not None:
            return False
        if known.is_script_class(self.name):
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
        claim = count if count <= _MOST else "impossibly many"
        raise Refused(f"its storage {quoted([key])} claims {claim} numbers, the file has {sizes[key]} bytes")
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
    if max((*size, *stride, offset), default=0) > _MOST:
        raise Refused("a tensor in it has an impossible shape")
    count, reach = prod(size), offset
    reach += sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if count and max(reach, count - 1) >= held.count:
        raise Refused(
            f"a tensor of shape {size} claims more than its storage {quoted([held.key])}, which has"
            f" {held.count} numbers"
        )
    return Described(held, hooks)


def is_usual_call(name: str, arguments: tuple[Any, ...]) -> bool:
    """Return whether a function of PyTorch or Python is called as files of weights call it."""
    if name == known.SIZE or name in known.SETS:
        kind = tuple if name == known.SIZE else list
        (values,) = arguments if len(arguments) == 1 else (None,)
        return type(values) is kind and all(type(value) in PLAIN for value in values)
    if name == known.ENCODE:
        return len(arguments) == 2 and type(arguments[0]) is str and arguments[1] == "latin1"
    if name == known.PARAMETER and len(arguments) == 3:
        held, needs_grad, hooks = arguments
        return isinstance(held, Described) and type(needs_grad) is bool and hooks == {}
    return False


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

"""Follows the pickle of a weight file without running it.

A pickle is a program for a machine with a stack. This machine moves descriptions only: it calls no function,
makes no tensor, and compares and hashes nothing but plain keys. So it refuses before they are carried out:
tensors larger than their data, functions with unusual arguments, and structures that take for ever to compare
or to walk through.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from odise_trt.errors import WeightsError
from reference.foreign import names as known
from reference.foreign.descriptions import (
    PLAIN,
    Called,
    Name,
    Ordered,
    Refused,
    Storage,
    is_usual_call,
    storage,
    tensor,
)
from reference.foreign.extent import check_extent
from reference.foreign.refusal import SAVE_AGAIN, damaged, quoted, unusual

_MOST_STEPS = 400_000
_LITERALS = frozenset({"BININT", "BININT1", "BININT2", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING", "LONG1"})
_NAMING = frozenset({"GLOBAL", "INST"})
_CONSTANTS: Mapping[str, Any] = {"NONE": None, "NEWFALSE": False, "NEWTRUE": True, "EMPTY_TUPLE": ()}


def check_pickle(path: Path, pickle: bytes, sizes: Mapping[str, int], is_script: bool) -> Collection[str]:
    """Check that a pickle does nothing but describe data. Return all names in it.

    Args:
        path: of its file, for messages.
        sizes: key of a storage -> bytes of its data in the file.
        is_script: it is of a TorchScript archive.

    Raises:
        WeightsError: it names something that does not belong to weights, or is not what PyTorch writes.
    """
    machine = _Machine(sizes, is_script)
    steps = pickletools.genops(pickle)
    end = -1
    try:
        for number, (code, argument, at) in enumerate(steps):
            if number >= _MOST_STEPS:
                raise Refused(f"its pickle has more than {_MOST_STEPS} steps")
            machine.step(code.name, argument, at)
            end = at or 0
        machine.finish()
    except (Refused, IndexError, KeyError) as error:
        foreign = machine.foreign | _names_after(steps, is_script)
        if foreign:
            raise _foreign(path, foreign) from error
        why = str(error) if isinstance(error, Refused) else "its pickle takes what it has not made"
        raise unusual(path, why) from error
    except ValueError as error:  # of pickletools
        if machine.foreign:
            raise _foreign(path, machine.foreign) from error
        raise damaged(path, f"its pickle is: {ascii(str(error)[:200])[1:-1]}") from error
    if machine.foreign:
        raise _foreign(path, machine.foreign)
    if end != len(pickle) - 1:
        raise unusual(path, "something follows its pickle")
    return machine.named


def _foreign(path: Path, names: Collection[str]) -> WeightsError:
    return WeightsError(
        f"{path} is refused: its pickle names what does not belong to weights: {quoted(sorted(names))};"
        " nothing in it was run",
        SAVE_AGAIN,
    )


def _names_after(steps: Any, is_script: bool) -> set[str]:
    """Return the names that are not allowed in the rest of a pickle, which is not followed any more."""
    found = set()
    try:
        for number, (code, argument, _) in enumerate(steps):
            if number >= _MOST_STEPS:
                break
            if code.name in _NAMING and not known.is_allowed(_full_name(argument), is_script):
                found.add(_full_name(argument))
    except ValueError:
        pass
    return found


def _full_name(argument: str) -> str:
    """Join module and name, unless one of them has a space: then it is no name that we know."""
    return argument.replace(" ", ".") if argument.count(" ") == 1 else argument


class _Machine:
    """The stack machine of pickles, for the steps that PyTorch writes."""

    def __init__(self, sizes: Mapping[str, int], is_script: bool) -> None:
        self.foreign: set[str] = set()
        self.named: set[str] = set()
        self._sizes, self._is_script = sizes, is_script
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._storages: dict[str, Storage] = {}
        self._steps: dict[str, Callable[[Any], None]] = {
            "GLOBAL": lambda argument: self._stack.append(Name(_full_name(argument))),
            "REDUCE": self._call,
            "NEWOBJ": self._make,
            "BUILD": self._build,
            "BINPERSID": self._persistent,
            "MARK": self._mark,
            "EMPTY_LIST": lambda _: self._stack.append([]),
            "EMPTY_DICT": lambda _: self._stack.append({}),
            "TUPLE": self._tuple_since_mark,
            "TUPLE1": lambda _: self._tuple(1),
            "TUPLE2": lambda _: self._tuple(2),
            "TUPLE3": lambda _: self._tuple(3),
            "APPEND": lambda _: self._extend([self._stack.pop()]),
            "APPENDS": lambda _: self._extend(self._since_mark()),
            "SETITEM": lambda _: self._set([self._stack.pop(-2), self._stack.pop()]),
            "SETITEMS": lambda _: self._set(self._since_mark()),
            "BINGET": self._get,
            "LONG_BINGET": self._get,
            "BINPUT": self._put,
            "LONG_BINPUT": self._put,
            "STOP": lambda _: None,
        }

    def step(self, name: str, argument: Any, at: int | None) -> None:
        """Follow one step of the pickle at this place."""
        if name in _NAMING:
            self._note(_full_name(argument))
        if (name == "PROTO") != (at == 0) or (at == 0 and argument != 2):
            raise Refused("its pickle is not of protocol 2, which torch.save writes")
        if name in _LITERALS:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in self._steps:
            self._steps[name](argument)
        elif name != "PROTO":
            raise Refused(f"its pickle has a step {name}, which torch.save never writes")

    def finish(self) -> None:
        """Check what the pickle has made."""
        if self._marks or len(self._stack) != 1:
            raise Refused("its pickle leaves something unfinished")
        check_extent(self._stack[0])

    def _note(self, name: str) -> None:
        self.named.add(name)
        if not known.is_allowed(name, self._is_script):
            self.foreign.add(name)
        if len(self.named) > known.MOST_CLASSES:
            raise Refused(f"its pickle names more than {known.MOST_CLASSES} classes")

    def _call(self, _: None) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if not (isinstance(function, Name) and isinstance(arguments, tuple)):
            raise Refused("its pickle calls what is no function")
        name = function.full
        if name in self.foreign:
            made: object = Called(name)
        elif name == known.TENSOR:
            made = tensor(arguments)
        elif name == known.ORDERED_DICT and not arguments:
            made = Ordered()
        elif name in known.OF_NUMPY or name in known.SCRIPT_LISTS:
            made = Called(name, arguments)
        elif is_usual_call(name, arguments):
            made = arguments[0] if name == known.PARAMETER else Called(name)
        else:
            raise Refused(f"its pickle calls {quoted([name])} with unusual arguments")
        self._stack.append(made)

    def _make(self, _: None) -> None:
        arguments, cls = self._stack.pop(), self._stack.pop()
        if not (isinstance(cls, Name) and cls.full.startswith(known.SCRIPT_CLASSES) and arguments == ()):
            raise Refused("its pickle makes an object of a class that is no TorchScript module")
        self._stack.append(Called(cls.full))

    def _build(self, _: None) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, Ordered):
            if not (type(state) is dict and set(state) <= {"_metadata"}):
                raise Refused("its pickle changes a dictionary in an unusual way")
        elif not (isinstance(target, Called) and target.takes_state(state)):
            raise Refused("its pickle changes an object that has no state")
        target.state = state

    def _persistent(self, _: None) -> None:
        found = storage(self._stack.pop(), self._sizes)
        if self._storages.setdefault(found.key, found) != found:
            raise Refused(f"its storage {quoted([found.key])} is described in two ways")
        self._stack.append(found)

    def _mark(self, _: None) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        found, self._stack = self._stack, self._marks.pop()
        return found

    def _tuple_since_mark(self, _: None) -> None:
        found = tuple(self._since_mark())
        self._stack.append(found)

    def _tuple(self, length: int) -> None:
        if len(self._stack) < length:
            raise IndexError
        self._stack[-length:] = [tuple(self._stack[-length:])]

    def _extend(self, values: list[Any]) -> None:
        if type(self._stack[-1]) is not list:
            raise Refused("its pickle appends to what is no list")
        self._stack[-1].extend(values)

    def _set(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(values) % 2:
            raise Refused("its pickle sets items of what is no dictionary")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not (type(key) in PLAIN or (isinstance(key, Name) and key.full in known.CALLBACKS)):
                raise Refused("a dictionary in it has keys that are neither texts nor numbers")
            target[key] = value

    def _get(self, place: int) -> None:
        self._stack.append(self._memo[place])

    def _put(self, place: int) -> None:
        self._memo[place] = self._stack[-1]

"""Follows the pickle of a weight file without running it.

A pickle is a program for a machine with a stack. This machine moves descriptions only: it calls no function,
makes no tensor, and compares and hashes nothing but plain keys. So it refuses before they are carried out:
tensors larger than their data, functions with unusual arguments, and structures that take for ever to compare
or to walk through.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from odise_trt.errors import WeightsError
from reference.foreign import names as known
from reference.foreign.descriptions import (
    PLAIN,
    Called,
    Described,
    Name,
    Ordered,
    Refused,
    Storage,
    is_usual_call,
    storage,
    tensor,
)
from reference.foreign.extent import check_extent
from reference.foreign.pickle_steps import NAMING, read_steps
from reference.foreign.refusal import SAVE_AGAIN, damaged, quoted, unusual

_LITERALS = frozenset({"BININT", "BININT1", "BININT2", "BINFLOAT", "BINUNICODE", "LONG1"})
_PROTOCOL = 2
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
    failure: Exception | None = None
    try:
        with warnings.catch_warnings():
            # Python warns of escapes in texts of pickles, before they are refused.
            warnings.simplefilter("ignore", DeprecationWarning)
            for name, argument in read_steps(pickle):
                try:
                    machine.note(name, argument)
                    if failure is None:
                        machine.step(name, argument)
                except (Refused, IndexError, KeyError) as error:
                    failure = failure or error  # The rest is read for the names in it.
        if failure is None:
            machine.finish()
    except (Refused, ValueError) as error:  # a ValueError comes from pickletools
        failure = failure or error
    if machine.foreign:
        raise WeightsError(
            f"{path} is refused: its pickle names what does not belong to weights:"
            f" {quoted(sorted(machine.foreign))}; nothing in it was run",
            SAVE_AGAIN,
        ) from failure
    if isinstance(failure, Refused):
        raise unusual(path, str(failure)) from failure
    if isinstance(failure, ValueError):
        raise damaged(path, f"its pickle is: {ascii(str(failure)[:200])[1:-1]}") from failure
    if failure is not None:
        raise unusual(path, "its pickle takes what it has not made") from failure
    return machine.named


class _Machine:
    """The stack machine of pickles, for the steps that PyTorch writes."""

    def __init__(self, sizes: Mapping[str, int], is_script: bool) -> None:
        self.foreign: set[str] = set()
        self.named: set[str] = set()
        self._sizes, self._is_script, self._has_begun = sizes, is_script, False
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._storages: dict[str, Storage] = {}
        self._steps: dict[str, Callable[[Any], None]] = {
            "GLOBAL": lambda name: self._stack.append(Name(name)),
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
            "SHORT_BINSTRING": self._bytes,
            "PROTO": lambda _: None,
            "STOP": lambda _: None,
        }

    def note(self, step: str, name: Any) -> None:
        """Remember a name in the pickle."""
        if step not in NAMING:
            return
        self.named.add(name)
        if not known.is_allowed(name, self._is_script):
            self.foreign.add(name)
        if len(self.named) > known.MOST_CLASSES:
            raise Refused(f"its pickle names more than {known.MOST_CLASSES} classes")

    def step(self, name: str, argument: Any) -> None:
        """Follow one step of the pickle."""
        if (name == "PROTO") == self._has_begun or (name == "PROTO" and argument != _PROTOCOL):
            raise Refused(f"its pickle is not of protocol {_PROTOCOL}, which torch.save writes")
        self._has_begun = True
        if name in _LITERALS:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in self._steps:
            self._steps[name](argument)
        else:
            raise Refused(f"its pickle has a step {name}, which torch.save never writes")

    def finish(self) -> None:
        """Check what the pickle has made."""
        if self._marks or len(self._stack) != 1:
            raise Refused("its pickle leaves something unfinished")
        check_extent(self._stack[0])

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
            made = Called(name)
        elif is_usual_call(name, arguments):
            is_parameter = name == known.PARAMETER
            made = Described(arguments[0].storage, arguments[2]) if is_parameter else Called(name)
        else:
            raise Refused(f"its pickle calls {quoted([name])} with unusual arguments")
        self._stack.append(made)

    def _make(self, _: None) -> None:
        arguments, cls = self._stack.pop(), self._stack.pop()
        if not (isinstance(cls, Name) and known.is_script_class(cls.full) and arguments == ()):
            raise Refused("its pickle makes an object of a class that is no TorchScript module")
        self._stack.append(Called(cls.full))

    def _build(self, _: None) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, Ordered):
            if target.state is not None or type(state) is not dict or not set(state) <= {"_metadata"}:
                raise Refused("its pickle changes a dictionary in an unusual way")
        elif not (isinstance(target, Called) and target.takes_state(state)):
            raise Refused("its pickle changes an object that has no state")
        target.state = state

    def _persistent(self, _: None) -> None:
        found = storage(self._stack.pop(), self._sizes)
        if self._storages.setdefault(found.key, found) != found:
            raise Refused(f"its storage {quoted([found.key])} is described in two ways")
        self._stack.append(found)

    def _bytes(self, text: str) -> None:
        # PyTorch reads them as UTF-8, pickletools as Latin-1.
        if not text.isascii():
            raise Refused("its pickle has a text of Python 2 that is not ASCII")
        self._stack.append(text)

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

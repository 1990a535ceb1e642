"""Read JSON and check it: every value that is used has a declared form.

An error names the value and shows a good one, since many such files are written by hand.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from odise_trt.errors import hint_for, reason
from odise_trt.pictures.file_kind import HEAD, guess, kind_of
from reference.errors import DatasetError

Row = Mapping[str, Any]
_MISSING = object()
_NO_JSON = "export it as JSON, or give the JSON file"


@dataclass(frozen=True)
class Value:
    """A requirement for a value.

    Attributes:
        wanted: the requirement in words, for messages.
        fits: whether a value meets it.
    """

    wanted: str
    fits: Callable[[Any], bool]


@dataclass(frozen=True)
class RowForm:
    """The form of an object in a JSON; other keys are ignored.

    Attributes:
        what: the object's name in messages.
        values: key -> requirement for its value, or the form of the rows in a list.
        example: a good object as JSON.
        optional: keys of `values` that may be missing.
        label: the key whose value identifies a row in messages.
        others: keys of rows in similar formats -> hint about that format.
    """

    what: str
    values: Mapping[str, Value | RowForm]
    example: str
    optional: frozenset[str] = frozenset()
    label: str = ""
    others: Mapping[str, str] = field(default_factory=dict)
    _checks: tuple[tuple[str, Callable[[Any], bool], bool], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # COCO has a million segments: the checks are prepared once for all.
        checks = tuple(
            (key, one.fits if isinstance(one, Value) else one.fits_list, key in self.optional)
            for key, one in self.values.items()
        )
        object.__setattr__(self, "_checks", checks)

    def fits(self, row: Any) -> bool:
        """Whether a row has this form."""
        if type(row) is not dict:
            return False
        for key, fits, optional in self._checks:
            value = row.get(key, _MISSING)
            if not (optional if value is _MISSING else fits(value)):
                return False
        return True

    def fits_list(self, rows: Any) -> bool:
        """Whether a value is a list of rows of this form."""
        return type(rows) is list and all(map(self.fits, rows))

    def check(self, row: Any, where: str) -> None:
        """Raise DatasetError unless a row has this form.

        Whole numbers that are written as 1.0, as pandas does, are converted to integers in place.

        Args:
            row: the object.
            where: its place, for messages: "record.json".
        """
        if not self.fits(row):
            self._make_whole(row)
            if not self.fits(row):
                self._refuse(row, where)

    def check_list(self, rows: Any, key: str, where: str) -> None:
        """Raise DatasetError unless the value of a key is a list of rows of this form.

        Args:
            rows: the value.
            key: its key.
            where: place of the object with the key, for messages.
        """
        if type(rows) is not list:
            raise DatasetError(
                f"{where} has {shown(rows)} as {key}, which should be a list", f"write it as [{self.example}]"
            )
        for position, row in enumerate(rows):
            if not self.fits(row):
                self.check(row, f"{self.what} {position}{self._label(row)} of {where}")

    def _make_whole(self, row: Any) -> None:
        if type(row) is not dict:
            return
        for key, one in self.values.items():
            value = row.get(key)
            if isinstance(one, RowForm):
                for part in value if type(value) is list else ():
                    one._make_whole(part)
            elif type(value) is float and value.is_integer():
                row[key] = int(value)

    def _refuse(self, row: Any, where: str) -> None:
        hint = f"write it as {self.example}"
        if type(row) is dict and (other := next((key for key in self.others if key in row), None)):
            hint = self.others[other]
        if type(row) is not dict:
            raise DatasetError(f"{where} is {shown(row)}", hint)
        gone = [key for key in self.values if key not in row and key not in self.optional]
        if gone:
            raise DatasetError(f"{where} has no {', '.join(gone)}", hint)
        for key, one in self.values.items():
            if isinstance(one, RowForm):
                if key in row:
                    one.check_list(row[key], key, where)
            elif key in row and not one.fits(row[key]):
                raise DatasetError(
                    f"{where} has {shown(row[key])} as {key}, which should be {one.wanted}", hint
                )

    def _label(self, row: Any) -> str:
        value = row.get(self.label) if type(row) is dict else None
        return f" ({self.label} {shown(value)})" if type(value) in (int, str) else ""


def read_rows(path: Path, **forms: RowForm) -> dict[str, list[Any]]:
    """Read the lists of a JSON, by key.

    Args:
        path: of the JSON.
        forms: key -> the form of the rows in its list.

    Raises:
        DatasetError: see `read_json`; or a key is missing, its value is not a list, a row has another form.
    """
    data = read_json(path)
    hint = "it should have " + ", ".join(f'"{key}": [{form.example}, ...]' for key, form in forms.items())
    if type(data) is not dict:
        raise DatasetError(f"{path} is {shown(data)}", hint)
    gone = [key for key in forms if key not in data]
    if gone:
        raise DatasetError(f"{path} has no {', '.join(gone)}", hint)
    for key, form in forms.items():
        form.check_list(data[key], key, str(path))
    return {key: data[key] for key in forms}


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        DatasetError: the file cannot be read, is not JSON, or has a key twice in one object.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {reason(error)}", hint_for(error)) from error
    _check_kind(content, path)
    try:
        return json.loads(content, object_pairs_hook=_with_keys_of_its_own)
    except _Twice as error:
        raise DatasetError(
            f"{path} has {shown(error.key)} twice in one object, beside {shown(error.others)}",
            "remove one of the two",
        ) from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from error
    except RecursionError as error:
        raise DatasetError(f"{path} is nested too deeply", "is it a file of this kind?") from error
    except ValueError as error:
        raise DatasetError(
            f"{path} is no JSON: {error}",
            "correct it there; a download that was cut short looks like this, too",
        ) from error


def _check_kind(content: bytes, path: Path) -> None:
    """Raise DatasetError if the first bytes are those of another kind of file."""
    if not content.strip():
        raise DatasetError(f"{path} is empty", "it was never written or fetched: get it again")
    head = content[:HEAD]
    other = kind_of(head, ()) or (guess(head) if head.lstrip()[:1] == b"<" else None)
    if other is not None:
        hint = _NO_JSON if other.way_out == "name a picture" else other.way_out.replace("picture", "file")
        raise DatasetError(f"{path} is no JSON: it is {other.what.replace('the picture', 'the file')}", hint)


def shown(value: Any) -> str:
    """Return a value as short text for a message; null, true and false as JSON writes them."""
    return _SHORT.repr(value)


class _Twice(Exception):
    def __init__(self, key: str, others: list[str]) -> None:
        super().__init__(key)
        self.key, self.others = key, others


def _with_keys_of_its_own(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _Twice(twice, [key for key in row if key != twice])
    return row


class _Short(reprlib.Repr):
    """Like Python's `reprlib`, but with null, true and false."""

    def repr_NoneType(self, value: None, level: int) -> str:
        return "null"

    def repr_bool(self, value: bool, level: int) -> str:
        return str(value).lower()


def _short() -> reprlib.Repr:
    short = _Short()
    short.maxstring, short.maxlong, short.maxother = 80, 40, 80
    short.maxdict, short.maxlist, short.maxlevel = 6, 6, 3
    return short


_SHORT = _short()


def repeated(values: Iterable[Any]) -> Any:
    """Return the first value that occurs twice; None: no value does."""
    seen = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None

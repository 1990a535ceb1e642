"""JSON as dataclasses. Every value is checked against the annotation of its field, in this one place.

A file that was edited by hand, or is damaged, gives an error that names the field. No value of a wrong type
is accepted.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

# The deepest nesting of values of type Any. Code that prints or copies them recurses as deep.
_DEEPEST = 40

#: A check that an annotation adds to a type: `Annotated[int, within(1, 10)]`. It returns a complaint or None.
Check = Callable[[Any], str | None]


class MisfitError(ValueError):
    """A value that does not fit its field.

    Attributes:
        place: where the value is, for example "stages[0].file".
        complaint: what is wrong with it, for example "must be a text, it is 7".
    """

    def __init__(self, place: str, complaint: str) -> None:
        super().__init__(f"{place} {complaint}" if place else complaint)
        self.place = place
        self.complaint = complaint


def read_as(annotation: Any, value: Any, place: str = "") -> Any:
    """Convert a JSON value to the type of the annotation: dataclass, tuple, mapping, number or text.

    Raises:
        MisfitError: the value has another type, lacks a field, has an unknown field, or fails a check.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        read = read_as(arguments[0], value, place)
        for check in arguments[1:]:
            if complaint := check(read):
                raise MisfitError(place, complaint)
        return read
    if origin in (Union, types.UnionType):
        return _one_of(arguments, value, place)
    if origin is tuple:
        return _tuple(arguments, value, place)
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(arguments[1], value, place)
    if is_dataclass(annotation):
        return _dataclass(annotation, value, place)
    return _plain(annotation, value, place)


def within(least: float, most: float) -> Check:
    """Check that a number is from `least` to `most`. NaN fails."""
    return lambda value: None if least <= value <= most else f"must be {least} to {most}, it is {value!r:.80}"


def multiple_of(step: int) -> Check:
    """Check that a whole number is a multiple of `step`."""
    return lambda value: f"must be a multiple of {step}, it is {value}" if value % step else None


def choice(*values: str) -> Check:
    """Check that a text is one of `values`."""
    return lambda value: None if value in values else f"must be {' or '.join(values)}, it is {value!r:.80}"


def keys(**wanted: Any) -> Check:
    """Check the types of these keys of a mapping. Keys may be missing unless marked as `Required`."""

    def check(value: Mapping[str, Any]) -> str | None:
        for key, annotation in wanted.items():
            needed = isinstance(annotation, Required)
            if needed and key not in value:
                return f"has no {key}"
            if key in value:
                try:
                    read_as(annotation.annotation if needed else annotation, value[key], key)
                except MisfitError as error:
                    return f"is wrong: {error}"
        return None

    return check


class Required:
    """Marks a key of `keys` that must be present."""

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation


def _one_of(choices: tuple[Any, ...], value: Any, place: str) -> Any:
    # The error is that of the nearest alternative: of one that is not None, if there is one.
    error: MisfitError | None = None
    for annotation in choices:
        try:
            return read_as(annotation, value, place)
        except MisfitError as found:
            if annotation is not type(None) or error is None:
                error = found
    raise error or MisfitError(place, "cannot be read")


def _tuple(arguments: tuple[Any, ...], value: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _wrong(place, "a list", value)
    if arguments[1:] == (...,):
        return tuple(read_as(arguments[0], one, f"{place}[{number}]") for number, one in enumerate(value))
    if len(value) != len(arguments):
        raise MisfitError(place, f"must have {len(arguments)} values, it has {len(value)}")
    pairs = enumerate(zip(arguments, value, strict=True))
    return tuple(read_as(annotation, one, f"{place}[{number}]") for number, (annotation, one) in pairs)


def _mapping(annotation: Any, value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(place, "a mapping", value)
    return {key: read_as(annotation, one, f"{place}[{key!r:.60}]") for key, one in value.items()}


def _dataclass(kind: Any, value: Any, place: str) -> Any:
    if not isinstance(value, Mapping):
        raise _wrong(place, "a mapping", value)
    hints = _hints(kind)
    if unknown := [key for key in value if key not in hints]:
        raise MisfitError(place, f"has a field that is not known: {unknown[0]!r:.60}")
    read = {}
    for field in fields(kind):
        inside = f"{place}.{field.name}" if place else field.name
        if field.name in value:
            read[field.name] = read_as(hints[field.name], value[field.name], inside)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise MisfitError(inside, "is missing")
    try:
        return kind(**read)
    except MisfitError as error:
        raise MisfitError(place, str(error)) from error


def _plain(annotation: Any, value: Any, place: str) -> Any:
    if annotation is Any:
        if not _is_shallow(value, _DEEPEST):
            raise MisfitError(place, "is nested too deeply")
        return value
    if annotation is type(None):
        if value is not None:
            raise _wrong(place, "null", value)
        return None
    if annotation is str:
        if not isinstance(value, str):
            raise _wrong(place, "a text", value)
        return value
    if annotation is bool:
        if not isinstance(value, bool):
            raise _wrong(place, "true or false", value)
        return value
    # True is a number in Python, but not in JSON.
    if annotation is int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise _wrong(place, "a whole number", value)
        return value
    if annotation is float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_representable(value):
            raise _wrong(place, "a number", value)
        return float(value)
    raise TypeError(f"{annotation!r} is no annotation that is read")


def _is_representable(value: float) -> bool:
    try:
        float(value)
    except OverflowError:
        return False
    return True


def _is_shallow(value: Any, levels: int) -> bool:
    if levels == 0:
        return False
    if isinstance(value, Mapping):
        return all(_is_shallow(one, levels - 1) for one in value.values())
    return not isinstance(value, list | tuple) or all(_is_shallow(one, levels - 1) for one in value)


def _wrong(place: str, wanted: str, value: Any) -> MisfitError:
    kind = {dict: "a mapping", list: "a list", type(None): "null"}.get(type(value))
    return MisfitError(place, f"must be {wanted}, it is {kind or format(repr(value), '.80')}")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)

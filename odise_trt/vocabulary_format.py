"""The ways a vocabulary is written down: lines of text, inline lists, YAML and JSON.

Reading ends in entries, names with what was said about them; `odise_trt.vocabulary` makes categories
of them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import VocabularyError

SUFFIXES = (".txt", ".json", ".yaml", ".yml")

# What ODISE's own category lists write on the lines of ids that no category has.
_UNUSED_ID = "invalid_class_id"
_KIND = r"(?:(?P<kind>thing|stuff)\s*:)?\s*(?P<names>.*)"
_WORDS = re.compile(_KIND, re.IGNORECASE | re.DOTALL)
_LINE = re.compile(r"(?:(?P<id>\d+)\s*:)?\s*" + _KIND, re.IGNORECASE | re.DOTALL)
_COMMENT = re.compile(r"(?:^|\s)#.*")

_SECTIONS = {"things": True, "stuff": False}
_ENTRY_KEYS = {"id", "name", "names", "isthing"}
# Further keys of a category in COCO's panoptic JSON; they say nothing about names.
_COCO_KEYS = {"color", "supercategory"}


@dataclass(frozen=True)
class Entry:
    """One category as it was written.

    Attributes:
        names: one or more names, the first one is shown.
        isthing: None where the source says nothing about it.
        place: where it stands, for messages: "words.txt, line 3".
        numbered: it has an id of its own, which tells it from another of the same name.
    """

    names: tuple[str, ...]
    isthing: bool | None
    place: str
    numbered: bool = False


def looks_like_path(source: str) -> bool:
    """Whether `source` has a suffix of a vocabulary file or a path separator in it."""
    separators = {"/", os.sep, os.altsep} - {None}
    return source.lower().endswith(SUFFIXES) or any(str(separator) in source for separator in separators)


def read_inline(source: str) -> list[Entry]:
    """`"purse, handbag; table"`: `;` between categories, `,` between names.

    Raises:
        VocabularyError: no words, or nothing between two separators.
    """
    parts = source.split(";")
    if len(parts) > 1 and not parts[-1].strip():
        parts.pop()
    return [_words(part, f"category {i} of {source.strip()!r}") for i, part in enumerate(parts, 1)]


def read_file(path: Path) -> list[Entry]:
    """A text, YAML or JSON file; the suffix decides which.

    Raises:
        VocabularyError: the file cannot be read, is not what its suffix says, or has an empty entry.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise VocabularyError(
            f"the vocabulary {path} cannot be read: {error.strerror}", "check the path and its permissions"
        ) from error
    except UnicodeDecodeError as error:
        raise VocabularyError(
            f"the vocabulary {path} is not UTF-8 text (byte {error.start})", "save it as UTF-8"
        ) from error
    suffix = path.suffix.lower()
    if suffix == ".json":
        return read_data(_json(text, path), str(path))
    if suffix in (".yaml", ".yml"):
        return read_data(_yaml(text, path), str(path))
    return read_lines(text, str(path))


def read_lines(text: str, place: str) -> list[Entry]:
    """One category per line, `#` starts a comment, `thing:` or `stuff:` and an id may stand before the names.

    Raises:
        VocabularyError: a line without names, or with nothing between two commas.
    """
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        line = _COMMENT.sub("", line).strip()
        match = _LINE.fullmatch(line)
        if match is None or not line or (match["id"] and match["names"].strip() == _UNUSED_ID):
            continue
        entries.append(_entry(match, f"{place}, line {number}", numbered=match["id"] is not None))
    return entries


def read_data(data: Any, place: str) -> list[Entry]:
    """What YAML and JSON hold: a list of categories, or `{things: [...], stuff: [...]}`.

    A category is a string (names separated by commas), a list of names (taken as they are), or a mapping
    with `name` and/or `names`, and optionally `isthing` and `id`. Beside a list of `names`, `name` is one of
    them and taken as it is. COCO's panoptic `categories` are such mappings.

    Raises:
        VocabularyError: anything else, or an entry without names.
    """
    if isinstance(data, dict) and set(data) >= {"categories"}:
        data = data["categories"]
    if isinstance(data, dict):
        if not data or set(data) - set(_SECTIONS):
            raise VocabularyError(
                f"{place} is a mapping with the keys {_listed(data)}",
                "its keys must be `things` and/or `stuff`, each with a list of categories",
            )
        return [
            _from_value(value, f"{place}, {section} {number}", _SECTIONS[section])
            for section, values in data.items()
            for number, value in enumerate(_list(values, f"{place}, {section}"), 1)
        ]
    return [_from_value(value, f"{place}, entry {i}") for i, value in enumerate(_list(data, place), 1)]


def split_names(text: str) -> tuple[str, ...]:
    """Names separated by commas, white space stripped and collapsed."""
    return tuple(collapse(name) for name in text.split(","))


def collapse(name: str) -> str:
    """`name` without outer white space, inner white space as single blanks."""
    return " ".join(name.split())


def _words(text: str, place: str) -> Entry:
    match = _WORDS.fullmatch(text.strip())
    assert match is not None  # every part of the pattern is optional
    return _entry(match, place)


def _entry(match: re.Match[str], place: str, numbered: bool = False) -> Entry:
    kind = match["kind"]
    isthing = None if kind is None else kind.lower() == "thing"
    return Entry(_named(split_names(match["names"]), place), isthing, place, numbered)


def _from_value(value: Any, place: str, isthing: bool | None = None) -> Entry:
    if isinstance(value, dict):
        unknown = set(value) - _ENTRY_KEYS - _COCO_KEYS
        if unknown or not {"name", "names"} & set(value):
            raise VocabularyError(
                f"{place} is a mapping with the keys {_listed(value)}",
                "a category has `name` and/or `names`, and optionally `isthing` and `id`",
            )
        said = _flag(value["isthing"], place) if "isthing" in value else isthing
        if isthing is not None and said != isthing:
            raise VocabularyError(f"{place} contradicts its section by `isthing`", "remove one of the two")
        # Beside a list, where every name stands apart, a comma is a part of the name.
        whole = isinstance(value.get("names"), list)
        names = [n for key in ("name", "names") if key in value for n in _names(value[key], place, whole)]
        return Entry(_named(names, place), said, place, numbered="id" in value)
    return Entry(_named(_names(value, place), place), isthing, place)


def _names(value: Any, place: str, whole: bool = False) -> Iterator[str]:
    if isinstance(value, str):
        yield from (collapse(value),) if whole else split_names(value)
        return
    if not isinstance(value, list):
        raise VocabularyError(
            f"{place} is {value!r}, which is not text",
            "put it in quotes if it is a name: YAML reads `no` and `1` as other things",
        )
    for name in value:
        if not isinstance(name, str):
            raise VocabularyError(f"{place} has {name!r} among its names, which is not text", "quote it")
        yield collapse(name)


def _named(names: Iterable[str], place: str) -> tuple[str, ...]:
    named = tuple(names)
    if not any(named):
        raise VocabularyError(f"{place} has no name", "write a name or remove the entry")
    if not all(named):
        raise VocabularyError(f"{place} has an empty name", "remove the comma that has nothing beside it")
    return named


def _flag(value: Any, place: str) -> bool:
    if value not in (True, False):  # 1 and 0 too: COCO writes numbers
        raise VocabularyError(f"{place} has `isthing` {value!r}", "write true or false")
    return bool(value)


def _list(value: Any, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise VocabularyError(f"{place} is not a list of categories", "docs/vocabularies.md has the formats")
    return value


def _listed(data: dict[Any, Any]) -> str:
    return ", ".join(f"`{key}`" for key in data) or "(none)"


def _json(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise VocabularyError(f"the vocabulary {path} is not valid JSON: {error}", "correct it") from error


def _yaml(text: str, path: Path) -> Any:
    # Imported here because it is the one format that needs a library.
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        where = " ".join(str(error).split())
        raise VocabularyError(f"the vocabulary {path} is not valid YAML: {where}", "correct it") from error

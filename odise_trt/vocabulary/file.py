"""Reads vocabulary files: from bytes to text, and from text to entries by the suffix or the content."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any, NoReturn

from ..errors import VocabularyError, hint_for, reason
from .format import Entry, read_data
from .lines import read_lines
from .names import cut
from .yaml_reader import read_yaml

#: The documented suffixes. A file with another suffix, or none, is read by its content.
SUFFIXES = (".txt", ".json", ".yaml", ".yml")

# The longer marks first, since that of UTF-32 begins like that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_ARCHIVES = {
    b"PK\x03\x04": "an archive (zip, npz, xlsx, docx, odt), not text",
    b"\x1f\x8b": "compressed (gzip), not text",
    b"%PDF": "a PDF, not text",
}
_TABLES = {".csv": ",;\t", ".tsv": "\t"}


def read_file(path: Path) -> list[Entry]:
    """Read a text, YAML or JSON file. The suffix decides which, or else a bracket at the beginning.

    Raises:
        VocabularyError: the file cannot be read, does not fit its suffix, or has an empty entry.
    """
    text, place = _text(path), str(path)
    suffix = path.suffix.lower()
    if suffix == ".json":
        return read_data(read_json(text, place), place)
    if suffix in (".yaml", ".yml"):
        data = read_yaml(text, place)
        return [] if data is None else read_data(data, place)
    if text.lstrip()[:1] in ("[", "{"):
        return read_brackets(text, place)
    if suffix in _TABLES:
        _check_columns(text, place, _TABLES[suffix])
    return read_lines(text, place)


def read_brackets(text: str, place: str) -> list[Entry]:
    """Read text that begins with a bracket: JSON, or a list as YAML and Python write it.

    Raises:
        VocabularyError: the text is neither, or is not a list of categories.
    """
    try:
        data = read_json(text, place)
    except VocabularyError as error:
        if not isinstance(error.__cause__, json.JSONDecodeError):
            raise
        try:
            data = read_yaml(text, place)
        except VocabularyError as other:
            if not isinstance(other.__cause__, Exception):
                raise
            raise VocabularyError(
                f"{place} begins with a bracket, and is no list: {error.__cause__}",
                'write it as ["purse, handbag", "table"], or words without brackets',
            ) from error
    return read_data(data, place)


def read_json(text: str, place: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        VocabularyError: the text is not JSON, has a key twice, or has NaN or an infinity.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise VocabularyError(f"{place} has the key `{twice}` twice in one mapping", "remove one")
        return values

    def no_number(name: str) -> NoReturn:
        raise VocabularyError(f"{place} has {name}, which is no JSON", "remove it, or put it in quotes")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=no_number)
    except json.JSONDecodeError as error:
        raise VocabularyError(
            f"{place}, line {error.lineno} is not valid JSON: {error.msg} (column {error.colno})",
            "correct it",
        ) from error
    except RecursionError as error:
        raise VocabularyError(
            f"{place} is not valid JSON: lists in lists without end", "correct it"
        ) from error
    except ValueError as error:  # a number with more digits than Python reads
        raise VocabularyError(f"{place} is not valid JSON: {error}", "correct it") from error


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise VocabularyError(
            f"the vocabulary {path} cannot be read: {reason(error)}",
            hint_for(error) or "give a text, YAML or JSON file, and check the path",
        ) from error
    except ValueError as error:  # a null character in the path
        raise VocabularyError(f"{str(path)!r} is no path: {error}", "correct it") from error
    for magic, what in _ARCHIVES.items():
        if content.startswith(magic):
            raise VocabularyError(f"the vocabulary {path} is {what}", "give the text that is in it")
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise VocabularyError(
            f"the vocabulary {path} is not UTF-8 text (byte {error.start}, line {line})", "save it as UTF-8"
        ) from error
    if "\0" in text:
        raise VocabularyError(
            f"the vocabulary {path} is not UTF-8 text (a null character in line "
            f"{text.count(chr(10), 0, text.index(chr(0))) + 1})",
            "give a text, YAML or JSON file, saved as UTF-8",
        )
    return text


def _check_columns(text: str, place: str, separators: str) -> None:
    for number, line in enumerate(text.splitlines(), 1):
        columns = max(len(cut(line, separator)) for separator in separators)
        if columns > 1:
            raise VocabularyError(
                f"{place}, line {number} has {columns} columns: which of them are names?",
                "write a text file, a category per line: name, synonym, synonym",
            )

"""Vocabularies as text: one category per line in a file, or `;` between categories on the command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from ..errors import VocabularyError, VocabularyWarning, notify
from .format import Entry, checked
from .names import cut, mask, quoted, split_names, typed, written

# ODISE's own category lists have this on the lines of unused ids.
_UNUSED_ID = "invalid_class_id"
_KIND = re.compile(r"(?:(?P<kind>thing|stuff)\s*:)?\s*(?P<names>.*)", re.IGNORECASE | re.DOTALL)
_NUMBER = re.compile(r"(?P<id>\d+)\s*:(?P<rest>.*)", re.DOTALL)
_COMMENT = re.compile(r"(?:^|\s)#.*")
_COUNTED = re.compile(r"(\d+)\s+\D.*")
_COUNTED_BEHIND = re.compile(r"(\D.*)\s(\d+)")
# `#1 sign` and `apartment #5`: here `#` means a number, but could also begin a comment.
_NUMBER_SIGN = re.compile(r"(?:^|\s)#\d+(?=[\s,]|$)")
# labelme's names for "no category": __ignore__, _background_.
_NO_CATEGORY = re.compile(r"_+\w+_+")
# A table has one of these columns, and other columns.
_NAMES_COLUMN = "names?|class(?:es|_?name)?|labels?|categor(?:y|ies)|synonyms?|preset"
_COLUMN = re.compile(
    f"{_NAMES_COLUMN}|ids?|idx|index|no|number|kind|supercategory|isthing|things?|stuff|colou?r|count|what|"
    "description|ratio|train|val"
)
_HEADING_ALONE = re.compile("names?|class(?:es|_?name)?|labels?|categor(?:y|ies)")


def read_lines(text: str, place: str) -> list[Entry]:
    """Read one category per line. `#` starts a comment. An id and `thing:` or `stuff:` may precede the names.

    Raises:
        VocabularyError: a line has no names, has nothing between two commas, or has another form.
    """
    # If files were joined by `cat`, their byte order marks can be anywhere in the text.
    written_lines = text.replace("\ufeff", "").splitlines()
    lines = [(number, line) for number, line in enumerate(map(_uncommented, written_lines), 1) if line]
    _check_for_tables(lines, place)
    _warn_of_number_signs(written_lines, place)
    entries, skipped = [], 0
    for number, line in lines:
        entry = _entry_of_line(line, f"{place}, line {number}")
        if entry is None:
            skipped += 1
        else:
            entries.append(entry)
    if any(entry.numbered for entry in entries) and not all(entry.numbered for entry in entries):
        number, line = next((number, line) for number, line in lines if _NUMBER.fullmatch(line))
        notify(
            VocabularyWarning(
                f"{place}, line {number} has a number in front, and other lines have none",
                f"it is read as its id; if it is a part of the name, write {quoted(line)}, with quotes",
            )
        )
    for number, line in lines:
        if _NO_CATEGORY.fullmatch(line):
            notify(
                VocabularyWarning(
                    f"{place}, line {number} is read as a name to look for: {line}",
                    "other programs write it for what is no category: remove the line; "
                    f"if it is a name, write {quoted(line)}, with quotes",
                )
            )
            break
    return entries


def _warn_of_number_signs(lines: Sequence[str], place: str) -> None:
    for number, line in enumerate(lines, 1):
        found = _NUMBER_SIGN.search(mask(line))
        if found is not None and _uncommented(line) == line[: found.start()].strip():
            notify(
                VocabularyWarning(
                    f"{place}, line {number} is read as a comment from the # on: {line.strip()!r}",
                    f"if the # is a part of the name, write {quoted(line.strip())}, with quotes",
                )
            )
            return


def read_inline(text: str) -> list[Entry]:
    """Read `purse, handbag; table`: `;` between categories, `,` between names. One `;` may be at the end.

    Raises:
        VocabularyError: there are no words, nothing is between two separators, or the text has another form.
    """
    parts = cut(text, ";")
    ended = len(parts) > 1 and not parts[-1].strip()
    parts = parts[:-1] if ended else parts
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    alone = ";" if len(parts) == 1 else ""
    return [
        _entry(
            part.strip(),
            f"category {number} of {shown!r}" if len(parts) > 1 else "the vocabulary",
            marked=ended,
            literal=lambda name: typed(quoted(name) + alone),
        )
        for number, part in enumerate(parts, 1)
    ]


def write_lines(categories: Iterable[tuple[Sequence[str], bool]]) -> list[str]:
    """Write the lines that `read_lines` reads back, from each category's names and thing flag.

    Categories with the same first name get numbers, which separate them.
    """
    rows, first = [], set()
    for names, isthing in categories:
        rows.append(f"{'thing' if isthing else 'stuff'}: {', '.join(map(written, names))}")
        first.add(names[0].casefold())
    if len(first) == len(rows):
        return rows
    return [f"{number}: {row}" for number, row in enumerate(rows, 1)]


def _uncommented(line: str) -> str:
    comment = _COMMENT.search(mask(line))
    return (line if comment is None else line[: comment.start()]).strip()


def _entry_of_line(line: str, place: str) -> Entry | None:
    number = _NUMBER.fullmatch(line)
    if number is None:
        return _entry(line, place)
    rest = number["rest"]
    if rest[:1].isdecimal():
        raise VocabularyError(
            f"{place} is {line!r}: a name, or the number {number['id']} in front of one?",
            f"a name: {quoted(line)}, with quotes; a number: a blank after the colon",
        )
    if rest.strip() == _UNUSED_ID:
        return None
    return _entry(rest.strip(), place, numbered=True)


def _entry(
    text: str,
    place: str,
    numbered: bool = False,
    marked: bool = False,
    literal: Callable[[str], str] = quoted,
) -> Entry:
    match = _KIND.fullmatch(text)
    assert match is not None  # every part of the pattern is optional
    kind = match["kind"]
    isthing = None if kind is None else kind.lower() == "thing"
    names = checked(split_names(match["names"], place, literal), place)
    return Entry(names, isthing, place, numbered, marked or numbered or kind is not None)


def _check_for_tables(lines: Sequence[tuple[int, str]], place: str) -> None:
    if not lines:
        return
    number, first = lines[0]
    if _is_head(re.split(r"[,;\t|]|\s{2,}", first)) or _is_head(first.split()):
        raise VocabularyError(
            f"{place}, line {number} is the head of a table: {first!r}",
            "write a category per line, names alone; `odise-trt vocab ... > words.txt` writes such a file",
        )
    if len(lines) == 1:
        return
    if _HEADING_ALONE.fullmatch(first.lower()):
        raise VocabularyError(
            f"{place}, line {number} is {first!r}: the head of a column, or a category?",
            f"remove it; if it is a category, write {quoted(first)}",
        )
    counted = [_COUNTED.fullmatch(line) for _, line in lines]
    numbers = [int(match[1][:9]) for match in counted if match is not None]
    if numbers and numbers == list(range(numbers[0], numbers[0] + len(lines))):
        raise VocabularyError(
            f"{place} has a number in front of every line: {first!r}",
            "write a colon after it, `1: cat`, or remove it; a name that begins with a number goes in quotes",
        )
    behind = [_COUNTED_BEHIND.fullmatch(line) for _, line in lines]
    ends = [(match[1], int(match[2][:9])) for match in behind if match is not None]
    first_end = ends[0][1] if ends else 0
    if (
        len(lines) > 2
        and [end for _, end in ends] == list(range(first_end, first_end + len(lines)))
        and len({name for name, _ in ends}) == len(ends)
    ):
        raise VocabularyError(
            f"{place} has a number behind every line: {first!r}",
            "remove the numbers; a name that ends with a number goes in quotes",
        )


def _is_head(cells: Sequence[str]) -> bool:
    columns = [cell.strip(" \"'").lower() for cell in cells]
    named = any(re.fullmatch(_NAMES_COLUMN, column) for column in columns)
    return len(columns) > 1 and named and all(map(_COLUMN.fullmatch, columns))

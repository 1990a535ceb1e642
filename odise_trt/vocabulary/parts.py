"""Reads the text of `--vocab` into the entries of each of its parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from ..errors import VocabularyWarning, notify
from .file import read_brackets, read_file
from .format import Entry, checked
from .lines import read_inline
from .names import split_names, typed
from .presets import PRESETS, known_flag, preset_entries
from .source import Kind, parts

# Words that rarely stand next to each other in one name.
_HEADS = frozenset(
    (
        *("person", "man", "woman", "child", "boy", "girl", "people", "bird", "cat", "dog", "horse", "cow"),
        *("elephant", "bear", "zebra", "giraffe", "bicycle", "car", "motorcycle", "airplane", "bus", "train"),
        *("truck", "boat", "chair", "sofa", "couch", "tv", "laptop"),
    )
)


def read_parts(source: str) -> Iterator[tuple[Sequence[Entry], str]]:
    """Yield the entries of each part, and its name for messages.

    Raises:
        VocabularyError: a part does not exist, cannot be read, or is probably meant as something else.
    """
    for part in parts(source, PRESETS):
        if part.kind is Kind.PRESET:
            yield preset_entries(part.text), part.text
        elif part.kind is Kind.BRACKETS:
            yield read_brackets(part.text, "the vocabulary"), ""
        elif part.kind is Kind.FILE:
            entries = read_file(Path(part.text))
            _warn_of_one(entries, part.text, "write a category per line, or `thing:` in front of this one")
            yield entries, part.text
        else:
            entries, shown = read_inline(part.text), repr(part.text)
            _warn_of_one(
                entries,
                shown,
                f"`;` stands between categories; for this reading, end with one: {typed(part.ended)}",
            )
            yield entries, shown


def warn_of_one_text(text: str) -> None:
    """Warn about a list with one text that has several names.

    Raises:
        VocabularyError: the text is something else.
    """
    names = checked(split_names(text, "the list", lambda name: f"{[[name]]!r}"), "the list")
    several, one = (names, [list(names)]) if len(names) > 1 else (text.split(), [[text]])
    _warn_of_one(
        [Entry(names, None, "")],
        "the list",
        f"for a category each, write {list(several)!r}; for this reading, write {one!r}",
    )


def _warn_of_one(entries: Sequence[Entry], place: str, hint: str) -> None:
    """Warn about a vocabulary of one category whose names are separated only by commas or blanks."""
    if len(entries) != 1 or entries[0].marked:
        return
    names = entries[0].names
    if len(names) > 1:
        what = f"one category with {len(names)} names: {', '.join(names)}"
    elif known_flag(names) is None and _is_a_row_of_words(names[0]):
        what = f"one category: {names[0]}"
    else:
        return
    notify(VocabularyWarning(f"{place} is read as {what}", hint))


def _is_a_row_of_words(name: str) -> bool:
    """Whether a name is probably a row of words: "cat dog", "chair table lamp sofa", but not "dog bed"."""
    words = [word for word in name.casefold().split() if word not in ("and", "or", "&")]
    neighbours = any(first in _HEADS and second in _HEADS for first, second in pairwise(words))
    return (neighbours or len(words) > 3) and all(known_flag([word]) is not None for word in words)

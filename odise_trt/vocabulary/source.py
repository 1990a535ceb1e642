"""Decides what the text of `--vocab` is: a preset, a file, words, or several of them joined.

A text is taken as words if nothing else fits. So a mistyped text is easily taken as words. Each known mistake
is an error that names the other reading, or a warning if words are likely, too.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ..errors import VocabularyError, VocabularyWarning, notify
from .file import SUFFIXES
from .likeness import (
    FILE_NAME,
    OTHER_DATA,
    UNSAID,
    WORDS_TOO,
    alias,
    bare,
    has_a_long_slash,
    is_file,
    is_meant_as_a_file,
    is_named_like_a_file,
    looks_like_path,
    suffix_of,
)
from .names import PAIRS, collapse, cut, mask, quoted, typed
from .other_forms import MOST, other_form

_BETWEEN = re.compile(r"\s+(?:and|plus)\s+|[\s,;/|&+'\"\[\]\uff0b\uff0c\uff1b\u3001_-]+")


class Kind(Enum):
    """The kinds of a part of `--vocab`."""

    PRESET = "preset"
    FILE = "file"
    WORDS = "words"
    BRACKETS = "list in brackets"


@dataclass(frozen=True)
class Part:
    """A part of `--vocab`.

    Attributes:
        text: the name of a preset, the path of a file, or the text to read.
        ended: for words, the whole `--vocab` with a `;` after them, which says that words are meant.
    """

    kind: Kind
    text: str
    ended: str = ""


def parts(source: str, presets: Iterable[str]) -> list[Part]:
    """Return the parts of `source`, to be joined in this order.

    Args:
        presets: the names of the presets.

    Raises:
        VocabularyError: a file is missing, a part cannot be joined, or words are probably not meant as words.
    """
    return list(_Source(tuple(presets)).parts(source.strip()))


def check_listed(names: Sequence[str], presets: Iterable[str]) -> None:
    """Raise if a list has the name of a preset, or only names of files, since these are no categories.

    Raises:
        VocabularyError: the list has such names.
    """
    presets = tuple(presets)
    named = [name for name in names if name.lower() in presets or is_named_like_a_file(name)]
    for name in named:
        if len(named) == len(names) or name.lower() in presets:
            what = "a preset" if name.lower() in presets else "a file"
            others = [f"{other};" for other in names if other not in named]
            raise VocabularyError(
                f"the list has {name!r}, which is the name of {what}",
                f"presets and files are joined in a text: {'+'.join([*named, *others][:4])!r}; for a word to "
                f"look for, write a list: {[[name]]!r}",
            )


def existing_file(text: str) -> Path | None:
    """Return the file that `text` names. None: there is no such file, or its name looks like a word."""
    path = os.path.expanduser(text)
    if looks_like_path(text):
        return Path(path) if os.path.exists(path) else None
    return Path(path) if suffix_of(text) and is_file(path) else None


class _Source:
    def __init__(self, presets: Sequence[str]) -> None:
        self._presets = presets
        self._listed = ", ".join(presets)
        self._around = ("", "")

    def parts(self, text: str) -> Iterator[Part]:
        if not text:
            raise VocabularyError("the vocabulary is empty", f"give words, a file, or one of {self._listed}")
        pieces = [] if self._known(text) is not None else _joined(text)
        if len(pieces) < 2 or not any(self._known(piece) for piece in pieces):
            yield self._part(text, joined=False)
            return
        for number, piece in enumerate(pieces):
            behind = pieces[number + 1 :]
            self._around = ("".join(f"{p}+" for p in pieces[:number]), "".join(f"+{p}" for p in behind))
            yield self._part(piece, joined=True)

    def _known(self, text: str) -> Part | None:
        if text.lower() in self._presets:
            return Part(Kind.PRESET, text.lower())
        path = existing_file(text)
        return None if path is None else Part(Kind.FILE, str(path))

    def _part(self, text: str, joined: bool) -> Part:
        known = self._known(text)
        if known is not None:
            return known
        if text[:1] in ("[", "{"):
            self._check_for_presets(text, at_least=1)
            return Part(Kind.BRACKETS, text)
        if not text:
            raise VocabularyError("there is nothing beside a +", f"presets: {self._listed}")
        if not text.endswith(";"):
            self._check_words(text, joined)
        return Part(Kind.WORDS, text, self._ended(text))

    def _check_words(self, text: str, joined: bool) -> None:
        """Raise or warn unless words are the only reading. A `;` at the end says that words are meant."""
        self._check_for_presets(text)
        self._check_quotes(text)
        names = [name.strip() for category in cut(text, ";") for name in cut(category, ",")]
        if len(names) == 1:
            self._check_one(text, joined)
            return
        for name in names:
            known = self._known(name)
            if known is not None or is_named_like_a_file(name):
                what = "a preset" if known is not None and known.kind is Kind.PRESET else "a file"
                raise VocabularyError(
                    f"{_short(text)} has {name!r} among its words, which is the name of {what}",
                    f"presets and files are joined with +, as in coco+mine.txt; {self._as_word(text)}",
                )

    def _check_one(self, text: str, joined: bool) -> None:
        """Check one name, which may be several parts that were not joined."""
        if mask(text) == '"' * len(text):
            return
        if text == "-":
            raise VocabularyError("'-' is no vocabulary", "for standard input, write /dev/stdin")
        if text[0] == "@" and existing_file(text[1:]) is not None:
            raise VocabularyError(f"{text!r} is no vocabulary", f"the file is given without @: {text[1:]}")
        if "://" in text:
            raise VocabularyError(f"{text} is an address, not a vocabulary", "download it and give the file")
        if is_meant_as_a_file(text):
            raise VocabularyError(f"there is no vocabulary file {text}", self._as_word(text))
        meant = alias(text)
        if meant is not None and bare(text) not in WORDS_TOO:
            raise VocabularyError(
                f"there is no preset {text!r}",
                f"did you mean {meant}? there are {self._listed}; {self._as_word(text)}",
            )
        if OTHER_DATA.fullmatch(re.sub(r"[\s-]+", "_", text)):
            raise VocabularyError(
                f"there is no preset {text!r}", f"there are {self._listed}; {self._as_word(text)}"
            )
        if joined or (text[-1] == "+" and self._known(text.rstrip("+ "))):
            raise VocabularyError(
                f"{text!r} is not a vocabulary that can be joined", self._what_can_be_joined(text)
            )
        self._warn_of_one(text)

    def _what_can_be_joined(self, text: str) -> str:
        if is_file(os.path.expanduser(text)):
            return f"to read the file of that name, write {os.path.join('.', text)}; {self._as_word(text)}"
        return f"presets: {self._listed}; {self._as_word(text)}; a name with a + goes in double quotes"

    def _as_word(self, text: str) -> str:
        """Return how to write a part so that it is read as words."""
        return _ended(self._ended(text))

    def _ended(self, text: str) -> str:
        before, behind = self._around
        # A `;` may not be enough: C:\\words.txt also has another form.
        single = len(cut(text, ";")) == len(cut(text, ",")) == 1
        meant = quoted(text) if single and other_form(text) is not None else text
        return f"{before}{meant};{behind}"

    def _check_quotes(self, text: str) -> None:
        """Check for quotes around the whole text, which a shell or another program did not remove."""
        inside = text[1:-1]
        if text[0] + text[-1] not in PAIRS or {text[0], text[-1]} & set(inside):
            return
        if any(sign in inside for sign in ";,+\n") or self._known(inside) is not None:
            raise VocabularyError(
                f"{_short(text)} is in quotes, which makes it one name",
                f"remove these quotes; if all of it is one name, write {typed(quoted(inside) + ';')}",
            )

    def _check_for_presets(self, text: str, at_least: int = 2) -> None:
        words = [word for word in _BETWEEN.split(text.lower()) if word]
        if len(words) >= at_least and all(word in self._presets for word in words):
            raise VocabularyError(
                f"{text!r} is no vocabulary: presets are joined with +",
                f"write {'+'.join(words)}; {_ended('; '.join(words) + ';')}",
            )

    def _warn_of_one(self, text: str) -> None:
        """Warn about other readings if words are likely, too."""
        if len(text) > MOST:
            return
        alike = difflib.get_close_matches(bare(text), self._presets, n=1, cutoff=0.8)
        # Typing errors are rare in the first letter: Elvis is not lvis.
        meant = alias(text) or next((name for name in alike if name[0] == bare(text)[0]), None)
        if meant is not None:
            self._warn(text, f"the preset is called {meant}")
        elif is_file(os.path.expanduser(text)):
            self._warn(text, f"to read the file of that name, write {os.path.join('.', text)}")
        elif beside := [text + suffix for suffix in SUFFIXES if is_file(os.path.expanduser(text + suffix))]:
            self._warn(text, f"to read the file {beside[0]}, write its suffix")
        elif UNSAID.fullmatch(text):
            self._warn(text, f"a vocabulary names what to look for; presets: {self._listed}")
        elif FILE_NAME.fullmatch(text):
            self._warn(text, "there is no file of that name")
        elif has_a_long_slash(text):
            self._warn(text, "there is no file of that name; `;` stands between categories")
        elif re.search(r"[^\W\d_]{3}(\+|\s+\+\s*)[^\W\d_]{3}", text):
            self._warn(text, "`+` joins presets and files; `;` stands between categories")

    def _warn(self, text: str, otherwise: str) -> None:
        notify(
            VocabularyWarning(
                f"{collapse(text)!r} is read as a name to look for", f"{otherwise}; {self._as_word(text)}"
            )
        )


def _joined(text: str) -> list[str]:
    """Split at each joining `+`. A `+` joins if something other than a separator follows it."""
    covered = mask(text)
    pieces, start = [], 0
    for match in re.finditer(r"\+(?=\s*[^\s+;,])", covered):
        pieces.append(text[start : match.start()].strip())
        start = match.end()
    return [*pieces, text[start:].strip()]


def _ended(text: str) -> str:
    return f"for words to look for, end with a semicolon: {typed(text)}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")

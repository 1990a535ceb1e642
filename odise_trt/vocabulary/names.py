"""Names: how they are split from text and quoted, and what cannot be a name.

Text that is split at commas is also checked against the forms of `other_forms`. A name in double quotes is
taken as it is. A quote inside it is doubled.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Callable, Sequence
from itertools import pairwise

from ..errors import VocabularyError
from .other_forms import other_form

# Format characters that are allowed: joiners and directions for emoji and scripts, and the letters of flags.
_NEEDED_FORMATS = frozenset("\u061c\u200c\u200d\u200e\u200f") | {chr(n) for n in range(0xE0020, 0xE0080)}
# Marks for line breaks. They get copied with text, and are ignored in names.
_BREAKS = re.compile("[\u00ad\u200b\u2060\ufeff]")
_LOST = "\ufffd"
# Invisible filler letters of Hangul and Braille.
_FILLERS = "\u115f\u1160\u3164\uffa0\u2800"
# Quotes count only where a name begins. In `24" monitor` the quote means inches.
_QUOTED = re.compile(r'(?:^|[,;:+\n])\s*("(?:[^"]|"")*")\s*(?=[,;+#\n]|$)')
_WHOLE = re.compile(r'"((?:[^"]|"")*)"')
#: Pairs of quotes. Only the first pair protects commas from splitting.
PAIRS = ('""', "''", "\u201c\u201d", "\u201e\u201c", "\u201e\u201d", "\u00ab\u00bb", "\u2018\u2019", "``")
_CLOSING = {
    '"': '"',
    "\u201c": "\u201d",
    "\u201e": "\u201c\u201d",
    "\u00ab": "\u00bb",
    "\u2018": "\u2019",
    "`": "`",
}
_PLAIN = re.compile(r"[^\W\d_](?:[\w ()/'-]*[\w)])?")


def collapse(name: str) -> str:
    """Normalise `name`: no outer white space, inner white space as single blanks, letters composed (NFC).

    Marks for line breaks (soft hyphens, zero-width spaces) are dropped. macOS separates letters and accents
    in file names. After NFC such a name equals a typed one.
    """
    return unicodedata.normalize("NFC", " ".join(_BREAKS.sub("", name).split()))


def check_name(name: str, place: str) -> None:
    """Raise VocabularyError unless `name` can be a name.

    Args:
        place: where it stands, for messages.

    Raises:
        VocabularyError: the name has an invisible character that is not allowed, or nothing visible.
    """
    for character in name:
        fault = _fault(character)
        if fault is not None:
            raise VocabularyError(
                f"{place} has {name!r}, with {fault} (U+{ord(character):04X})",
                "type the name again, or repair the program that wrote it",
            )
    if not any(map(_is_visible, name)):
        raise VocabularyError(f"{place} has {name!r}: nothing in it can be seen", "remove it")


def quoted(name: str) -> str:
    """Quote `name` for text and the command line, so that no character in it is special."""
    return '"' + name.replace('"', '""') + '"'


def typed(text: str) -> str:
    """Quote `text` for typing in a shell."""
    shown = repr(text)
    inner = shown[1:-1]
    plain = inner == text and not (shown[0] == '"' and set("$`!") & set(text))
    return shown if plain else shlex.quote(text)


def typed_name(name: str) -> str:
    """Quote `name` for typing in a shell: no character is special to the shell or to the reader of names."""
    return typed(quoted(name))


def written(name: str) -> str:
    """Write `name` for text and the command line, with quotes only if it needs them."""
    plain = _PLAIN.fullmatch(name) and name.count("(") == name.count(")")
    return name if plain else quoted(name)


def cut(text: str, separator: str) -> list[str]:
    """Split `text` at separators that are not in quotes."""
    covered = mask(text)
    places = [-1, *(n for n, character in enumerate(covered) if character == separator), len(text)]
    return [text[start + 1 : end] for start, end in pairwise(places)]


def mask(text: str) -> str:
    """Replace every character of quoted names in `text` by a quote."""
    covered, end = [], 0
    # A match includes the separator before the name, but never the one after it.
    for match in _QUOTED.finditer(text):
        covered += [text[end : match.start(1)], '"' * (match.end(1) - match.start(1))]
        end = match.end(1)
    return "".join([*covered, text[end:]])


def split_names(text: str, place: str, literal: Callable[[str], str] = quoted) -> tuple[str, ...]:
    """Split names at commas. White space is stripped and collapsed. A name may be empty.

    Args:
        place: where they stand, for messages.
        literal: writes a name so that it is taken as it is there, for hints.

    Raises:
        VocabularyError: a quote is not closed, or the text is a list of another form.
    """
    pieces = [piece.strip() for piece in cut(text, ",")]
    names = tuple(_name(piece, place, literal) for piece in pieces)
    bare = [
        name if _WHOLE.fullmatch(piece) is None else "" for name, piece in zip(names, pieces, strict=True)
    ]
    if len(names) > 1 and any(n.startswith("'") for n in bare) and any(n.endswith("'") for n in bare):
        raise VocabularyError(
            f"{place} has {text.strip()!r}: a comma is between single quotes",
            f"a name with a comma is written {literal(collapse(text).strip(chr(39)))}",
        )
    cut_up = _in_brackets(bare)
    if cut_up is not None:
        raise VocabularyError(
            f"{place} has {cut_up!r}: a comma is between brackets",
            f"write the names without brackets; a name with a comma is written {literal(cut_up)}",
        )
    for number, piece in enumerate(pieces):
        # After a name, 747 and 007 are probably names, but 7 is probably a number of a table.
        if len(pieces) > 1 and piece.isdecimal() and (number == 0 or len(piece) < 3):
            raise VocabularyError(
                f"{place} has the number {piece} among its names: is it a table?",
                f"write the names alone; if it is a name, write {literal(piece)}",
            )
    return names


def _in_brackets(names: Sequence[str]) -> str | None:
    """Return a name that was split at commas inside round brackets, or None."""
    start, depth = 0, 0
    for end, name in enumerate(names):
        start = start if depth else end
        depth = max(depth + name.count("(") - name.count(")"), 0)
        if not depth and start < end:
            return ", ".join(names[start : end + 1])
    return None


def _name(piece: str, place: str, literal: Callable[[str], str]) -> str:
    whole = _WHOLE.fullmatch(piece)
    if whole is not None:
        return collapse(whole[1].replace('""', '"'))
    for pair in PAIRS[1:]:
        inner = piece[1:-1]
        if piece[:1] == pair[0] and piece[-1:] == pair[1] and inner and not set(pair) & set(inner):
            return collapse(inner)
    name = collapse(piece)
    # A quote that is closed inside the name is part of the name: "Stop" sign.
    if piece[:1] in _CLOSING and not set(_CLOSING[piece[0]]) & set(piece[1:]):
        raise VocabularyError(
            f"{place} has {name!r}, with a quote that does not end before the next comma or the end",
            f"end it; if it is a part of the name: {literal(name)}",
        )
    other = other_form(piece)
    if other is not None:
        raise VocabularyError(
            f"{place} has {name!r}: {other.reading}",
            f"{other.instead}; if it is a name, write {literal(name)}",
        )
    return name


def _is_visible(character: str) -> bool:
    kind = unicodedata.category(character)
    # Unassigned (Cn) may be an emoji newer than this Python. Private (Co) may be in some font.
    return kind in ("Cn", "Co") or (kind[0] not in "ZMC" and character not in _FILLERS)


def _fault(character: str) -> str | None:
    kind = unicodedata.category(character)
    if kind == "Cs":
        return "half a character"
    if kind == "Cc":
        return "a control character"
    if kind == "Cf" and character not in _NEEDED_FORMATS:
        return "a character that nobody sees"
    if character == _LOST:
        return "the sign for a letter that was lost"
    return "what is no character" if ord(character) & 0xFFFE == 0xFFFE else None

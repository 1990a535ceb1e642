"""What to look for: categories with their synonyms, things or stuff.

`docs/vocabularies.md` is the page for users: the formats, the presets and where they come from.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from . import vocabulary_format as formats
from .errors import VocabularyError
from .vocabulary_format import Entry

#: Names of the vocabularies that come with the package, and what they are. The order matters: whether a
#: word of yours is a thing is looked up in this order.
PRESETS: Mapping[str, str] = {
    "coco": "COCO panoptic",
    "ade150": "ADE20K (SceneParse150)",
    "cityscapes": "Cityscapes",
    "lvis": "LVIS v1",
    "pc59": "PASCAL Context, 59 categories",
    "pc459": "PASCAL Context, 459 categories",
    "ade847": "ADE20K, full",
    "voc21": "PASCAL VOC and background",
    "scenes": "drawn scenes, what the demo model knows",
}
# The background of VOC is a heap of words, things among them, and scenes are drawings, where a house is an
# object as good as a ball: neither says anything about words in general.
_SAYS_NOTHING_ABOUT_WORDS = {"voc21", "scenes"}


@dataclass(frozen=True)
class Category:
    """One category.

    Attributes:
        names: the name to show first, then synonyms; a segment scores by the best of them. White space is
            collapsed, a name that is repeated is dropped; upper and lower case are kept for display.
        isthing: countable (every object is a segment of its own) or stuff (one segment per image).

    Raises:
        VocabularyError: no name, or a name that has nothing visible in it.
    """

    names: tuple[str, ...]
    isthing: bool = True

    def __post_init__(self) -> None:
        names = (self.names,) if isinstance(self.names, str) else self.names
        clean = tuple(dict.fromkeys(formats.collapse(name) for name in names))
        if not clean:
            raise VocabularyError("a category has no name", "give it one")
        for name in clean:
            if not any(character.isprintable() and character != " " for character in name):
                raise VocabularyError(f"{name!r} is not a name: nothing in it can be seen", "remove it")
        object.__setattr__(self, "names", clean)

    @property
    def name(self) -> str:
        """The name to show."""
        return self.names[0]


@dataclass(frozen=True)
class Vocabulary:
    """Categories in order; their positions are the category numbers of a result.

    Raises:
        VocabularyError: no categories.
    """

    categories: tuple[Category, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "categories", tuple(self.categories))
        if not self.categories:
            raise VocabularyError("the vocabulary is empty", 'name what to look for: "purse, handbag; table"')

    @classmethod
    def parse(cls, source: str | os.PathLike[str]) -> Vocabulary:
        """Read what `--vocab` takes. The first of these that fits decides:

        1. the name of a preset, in upper or lower case: `coco`;
        2. an existing file that looks like a path (suffix .txt, .json, .yaml, .yml, or a path separator);
        3. presets and files joined with `+`, at least one of them existing: `coco+ade150+mine.txt`. A list
           of words may be among them if it has a `;` or `,`: `coco+purse;`;
        4. words: `"purse, handbag; table; black cat"`, `;` between categories, `,` between synonyms. Without
           either it is one category, unless it looks like a path: then the file is missing.

        Words of your own are things or stuff as the presets have them, and things where no preset has them.

        Raises:
            VocabularyError: empty, not readable, a category without a name or twice, an unknown preset.
        """
        if isinstance(source, os.PathLike):
            return _from_entries(formats.read_file(Path(source)), str(source))
        text = source.strip()
        if not text:
            raise VocabularyError(
                "the vocabulary is empty", f"give words, a file, or one of {_preset_list()}"
            )
        parts = [part.strip() for part in text.split("+")]
        if not _is_known(text) and len(parts) > 1 and any(map(_is_known, parts)):
            joined = _parse_one(parts[0], joined=True)
            for part in parts[1:]:
                joined += _parse_one(part, joined=True)
            return joined
        return _parse_one(text, joined=False)

    @classmethod
    def preset(cls, name: str) -> Vocabulary:
        """A vocabulary that comes with the package, see `PRESETS`.

        Raises:
            VocabularyError: there is none of that name.
        """
        key = name.strip().lower()
        if key not in PRESETS:
            raise VocabularyError(f"there is no vocabulary preset {name!r}", f"there are: {_preset_list()}")
        return _preset(key)

    @classmethod
    def from_data(cls, data: Any) -> Vocabulary:
        """What a YAML or JSON file may hold: `["purse, handbag", ["table", "desk"], {"name": "sky", ...}]`.

        Raises:
            VocabularyError: as for a file.
        """
        return _from_entries(formats.read_data(data, "the vocabulary"), "the vocabulary")

    def __len__(self) -> int:
        return len(self.categories)

    def __iter__(self) -> Iterator[Category]:
        return iter(self.categories)

    def __getitem__(self, number: int) -> Category:
        return self.categories[number]

    @property
    def names(self) -> tuple[str, ...]:
        """The name to show of every category."""
        return tuple(category.name for category in self)

    @property
    def synonyms(self) -> tuple[tuple[str, ...], ...]:
        """All names of every category."""
        return tuple(category.names for category in self)

    @property
    def isthing(self) -> tuple[bool, ...]:
        """Per category, whether it is a thing."""
        return tuple(category.isthing for category in self)

    def __add__(self, other: Vocabulary) -> Vocabulary:
        """Both, `other` after this one.

        A category of `other` is the same as one of this when the shown name of each is among the names of
        the other (upper or lower case): its new names are added to this one's, whose flag stays.
        """
        shown: dict[str, list[int]] = {}
        for number, category in enumerate(self):
            shown.setdefault(category.name.casefold(), []).append(number)
        known = [_folded(category.names) for category in self]
        merged = list(self.categories)
        for category in other:
            first = category.name.casefold()
            same = [
                number
                for name in category.names
                for number in shown.get(name.casefold(), ())
                if first in known[number]
            ]
            if not same:
                merged.append(category)
                continue
            target = merged[min(same)]
            have = _folded(target.names)
            new = tuple(name for name in category.names if name.casefold() not in have)
            merged[min(same)] = replace(target, names=target.names + new)
        return Vocabulary(tuple(merged))

    def with_things(self, names: str | Iterable[str]) -> Vocabulary:
        """The categories that have these names (`"purse, table"` or a sequence) made things.

        A name that is shown picks the category it is shown for; a synonym, every category that has it.

        Raises:
            VocabularyError: a name that no category has.
        """
        return self._flagged(names, True)

    def with_stuff(self, names: str | Iterable[str]) -> Vocabulary:
        """The categories that have these names made stuff; see `with_things`."""
        return self._flagged(names, False)

    def _flagged(self, names: str | Iterable[str], isthing: bool) -> Vocabulary:
        chosen: set[int] = set()
        for name in formats.split_names(names) if isinstance(names, str) else names:
            folded = formats.collapse(name).casefold()
            shown = [n for n, category in enumerate(self) if category.name.casefold() == folded]
            found = shown or [n for n, category in enumerate(self) if folded in _folded(category.names)]
            if not found:
                close = difflib.get_close_matches(folded, [n for c in self for n in c.names], n=3)
                hint = f"did you mean {', '.join(close)}?" if close else "name one of its categories"
                raise VocabularyError(f"no category of the vocabulary is called {name!r}", hint)
            chosen.update(found)
        return Vocabulary(
            tuple(replace(c, isthing=isthing) if n in chosen else c for n, c in enumerate(self.categories))
        )


def _is_known(text: str) -> bool:
    return text.lower() in PRESETS or _existing_file(text) is not None


def _existing_file(text: str) -> Path | None:
    path = os.path.expanduser(text)
    return Path(path) if formats.looks_like_path(text) and os.path.exists(path) else None


def _parse_one(text: str, joined: bool) -> Vocabulary:
    if text.lower() in PRESETS:
        return _preset(text.lower())
    path = _existing_file(text)
    if path is not None:
        return _from_entries(formats.read_file(path), str(path))
    if ";" not in text and "," not in text:
        if formats.looks_like_path(text):
            raise VocabularyError(
                f"there is no vocabulary file {text}",
                f"if it is a word to look for, end it with a semicolon: {text + ';'!r}",
            )
        if joined:
            raise VocabularyError(
                f"{text!r} is not a vocabulary that can be joined",
                f"presets: {_preset_list()}; end a word to look for with a semicolon: {text + ';'!r}",
            )
    return _from_entries(formats.read_inline(text), repr(text))


def _from_entries(entries: Sequence[Entry], source: str) -> Vocabulary:
    if not entries:
        raise VocabularyError(f"the vocabulary {source} is empty", "write at least one category into it")
    places: dict[str, Entry] = {}
    for entry in entries:
        name = entry.names[0].casefold()
        earlier = places.setdefault(name, entry)
        # ADE20K has different categories of one name ("bag"): their ids tell them apart, in its lists and in
        # whatever is written of them.
        if earlier is not entry and not (entry.numbered and earlier.numbered):
            raise VocabularyError(
                f"the category {entry.names[0]!r} is there twice: {earlier.place}, and {entry.place}",
                "join the two, or remove one",
            )
    return Vocabulary(tuple(Category(e.names, _isthing(e)) for e in entries))


def _isthing(entry: Entry) -> bool:
    if entry.isthing is not None:
        return entry.isthing
    for preset in PRESETS:
        if preset not in _SAYS_NOTHING_ABOUT_WORDS:
            flags = _flags(preset)
            for name in entry.names:
                if name.casefold() in flags:
                    return flags[name.casefold()]
    return True


@cache
def _flags(preset: str) -> Mapping[str, bool]:
    flags: dict[str, bool] = {}
    for category in _preset(preset):
        for name in category.names:
            flags.setdefault(name.casefold(), category.isthing)
    return flags


@cache
def _preset(name: str) -> Vocabulary:
    text = (files(__package__) / "vocabularies" / f"{name}.txt").read_text(encoding="utf-8")
    return _from_entries(formats.read_lines(text, name), name)


def _folded(names: Iterable[str]) -> set[str]:
    return {name.casefold() for name in names}


def _preset_list() -> str:
    return ", ".join(PRESETS)

"""Vocabularies: the categories to look for, with their synonyms, as things or stuff.

`docs/vocabularies.md` is the page for users: the formats, the presets and where they come from.
"""

from __future__ import annotations

import difflib
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from ..errors import VocabularyError
from .file import read_file
from .format import Entry, check_distinct, checked, flag, read_data
from .lines import write_lines
from .names import collapse, split_names, typed_name
from .parts import read_parts, warn_of_one_text
from .presets import PRESETS, known_flag, preset_entries
from .source import check_listed

__all__ = ["PRESETS", "Category", "Vocabulary"]

_ACCEPTED = (
    'give a text ("purse, handbag; table", "coco"), a path, or a list of names, of lists of names, '
    "of mappings, or of categories"
)


@dataclass(frozen=True)
class Category:
    """One category.

    Attributes:
        names: the name to show, then synonyms. The score of a segment is that of the best name. A single name
            may be given as a text. White space is collapsed, and repeated names are dropped. Upper and lower
            case are kept for display.
        isthing: countable (every object is a segment of its own) or stuff (one segment per image).

    Raises:
        VocabularyError: there is no name, or a name is not text, has nothing visible, or has something
            invisible in it.
    """

    names: tuple[str, ...]
    isthing: bool = True

    def __post_init__(self) -> None:
        given = self.names
        names = (given,) if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)
        if not all(isinstance(name, str) for name in names):
            raise VocabularyError(
                f"{given!r} are not the names of a category",
                'give texts: Category(("purse", "handbag"))',
            )
        object.__setattr__(self, "names", checked(map(collapse, names), "a category"))
        object.__setattr__(self, "isthing", flag(self.isthing, f"the category {self.names[0]!r}"))

    @property
    def name(self) -> str:
        """The name to show."""
        return self.names[0]


@dataclass(frozen=True)
class Vocabulary:
    """Categories in order. Their positions are the category numbers of a result.

    Raises:
        VocabularyError: there are no categories.
    """

    categories: tuple[Category, ...]

    def __post_init__(self) -> None:
        given = self.categories
        categories = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
        for category in categories:
            if not isinstance(category, Category):
                raise VocabularyError(
                    f"{category!r} is not a Category",
                    'Vocabulary.of takes names: Vocabulary.of(["cat", "dog"]), Vocabulary.of("cat; dog")',
                )
        object.__setattr__(self, "categories", categories)
        if not self.categories:
            raise VocabularyError("the vocabulary is empty", 'name what to look for: "purse, handbag; table"')

    @classmethod
    def of(cls, source: Any) -> Vocabulary:
        """Make a vocabulary from any supported source.

        Args:
            source: a vocabulary; a text or a path, see `parse`; a list (or another ordered iterable) of
                names, of lists of names, of mappings, or of categories, see `from_data`.

        Raises:
            VocabularyError: the source is anything else, or as for `parse` and `from_data`.
        """
        if isinstance(source, Vocabulary):
            return source
        if isinstance(source, str | os.PathLike):
            return cls.parse(source)
        if isinstance(source, Category):
            return cls((source,))
        if isinstance(source, Mapping):
            return cls.from_data(source)
        if isinstance(source, bytes | bytearray | io.IOBase | set | frozenset) or not isinstance(
            source, Iterable
        ):
            raise VocabularyError(f"no vocabulary can be made of this {type(source).__name__}", _ACCEPTED)
        try:
            values = list(source)
        except TypeError as error:  # NumPy's arrays without an axis
            raise VocabularyError(
                f"no vocabulary can be made of {source!r:.60}: {error}", _ACCEPTED
            ) from error
        if any(isinstance(value, Vocabulary | os.PathLike) for value in values):
            raise VocabularyError(
                "the list has a file or a vocabulary among its categories",
                "join them with +: Vocabulary.of(first) + Vocabulary.of(second)",
            )
        texts = [value for value in values if isinstance(value, str)]
        check_listed(texts, PRESETS)
        if len(values) == len(texts) == 1:
            warn_of_one_text(texts[0])
        if not any(isinstance(value, Category) for value in values):
            return cls.from_data(values)
        return cls(tuple(v if isinstance(v, Category) else cls.from_data([v])[0] for v in values))

    @classmethod
    def parse(cls, source: str | os.PathLike[str]) -> Vocabulary:
        """Read a text as `--vocab` does. The first of these that fits decides:

        1. the name of a preset, in upper or lower case: `coco`;
        2. an existing file whose name looks like one: it has a suffix, or a path separator;
        3. presets and files joined with `+`, at least one of them existing: `coco+ade150+mine.txt`. Words
           may be among them if they end with a `;`, or have a `,`: `coco+purse;`;
        4. a list in brackets, as JSON and YAML write it: `["purse, handbag", "table"]`;
        5. words: `"purse, handbag; table; black cat"`, `;` between categories, `,` between synonyms.

        Words that are more likely something else (a missing file, presets joined with a comma, lines of a
        file) are an error, unless the last character is a `;`. A name in double quotes is taken as it is.

        Words are things or stuff as in the presets. Words that no preset has are things.

        Warns:
            VocabularyWarning: the text could have another meaning.

        Raises:
            VocabularyError: the text is empty or cannot be read, a category has no name or occurs twice, or
                there is no such preset.
        """
        if isinstance(source, os.PathLike):
            path = os.fsdecode(source)
            return _from_entries(read_file(Path(path)), path)
        if not isinstance(source, str):
            return cls.of(source)
        first, *others = (_from_entries(*part) for part in read_parts(source))
        for other in others:
            first += other
        return first

    @classmethod
    def preset(cls, name: str) -> Vocabulary:
        """Return a vocabulary that comes with the package, see `PRESETS`.

        Raises:
            VocabularyError: there is no preset of that name.
        """
        key = name.strip().lower() if isinstance(name, str) else name
        if key not in list(PRESETS):
            raise VocabularyError(
                f"there is no vocabulary preset {name!r}", f"there are: {', '.join(PRESETS)}"
            )
        return _preset(key)

    @classmethod
    def from_data(cls, data: Any) -> Vocabulary:
        """Read data as in a YAML or JSON file: `["purse, handbag", ["table", "desk"], {"name": "sky", ...}]`.

        Raises:
            VocabularyError: as for a file.
        """
        return _from_entries(read_data(data, "the vocabulary"))

    def to_data(self) -> list[dict[str, Any]]:
        """Return data that `from_data` reads back, with ids from 1 as in the JSON of a result."""
        return [
            {"id": number, "names": list(category.names), "isthing": category.isthing}
            for number, category in enumerate(self, 1)
        ]

    def to_text(self) -> str:
        """Return the lines of a text file, which `parse` can read."""
        return "\n".join(write_lines((category.names, category.isthing) for category in self)) + "\n"

    def __len__(self) -> int:
        return len(self.categories)

    def __iter__(self) -> Iterator[Category]:
        return iter(self.categories)

    def __getitem__(self, number: int) -> Category:
        return self.categories[number]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The name to show of every category."""
        return tuple(category.name for category in self)

    @cached_property
    def synonyms(self) -> tuple[tuple[str, ...], ...]:
        """All names of every category."""
        return tuple(category.names for category in self)

    @cached_property
    def isthing(self) -> tuple[bool, ...]:
        """Per category, whether it is a thing."""
        return tuple(category.isthing for category in self)

    def __add__(self, other: Vocabulary) -> Vocabulary:
        """Join two vocabularies, `other` after this one.

        A category of `other` equals one of this vocabulary if the shown name of each is among the names of
        the other (in upper or lower case). Then its new names are added to the category of this vocabulary,
        whose flag stays.

        Raises:
            VocabularyError: as for `of`, if `other` is not a `Vocabulary` but another source.
        """
        other = Vocabulary.of(other)
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
        """Return a vocabulary in which the categories with these names are things.

        The names are a text (`"purse, table"`) or a sequence. A shown name selects the category it is shown
        for. A synonym selects every category that has it. In a text, a name with a comma is written in double
        quotes.

        Raises:
            VocabularyError: no category has one of the names.
        """
        return self._flagged(names, True)

    def with_stuff(self, names: str | Iterable[str]) -> Vocabulary:
        """Return a vocabulary in which the categories with these names are stuff. See `with_things`."""
        return self._flagged(names, False)

    def with_flags(self, things: str | None = None, stuff: str | None = None) -> Vocabulary:
        """Apply `--things` and `--stuff`. None changes nothing.

        Raises:
            VocabularyError: no category has one of the names, or a category is in both.
        """
        chosen = [set() if names is None else self._numbers(names) for names in (things, stuff)]
        for number in sorted(chosen[0] & chosen[1]):
            raise VocabularyError(
                f"the category {self[number].name!r} is to be a thing and stuff",
                "remove it from one of the two",
            )
        return self._with(chosen[0], True)._with(chosen[1], False)

    def _flagged(self, names: str | Iterable[str], isthing: bool) -> Vocabulary:
        return self._with(self._numbers(names), isthing)

    def _with(self, numbers: set[int], isthing: bool) -> Vocabulary:
        return Vocabulary(
            tuple(replace(c, isthing=isthing) if n in numbers else c for n, c in enumerate(self))
        )

    def _numbers(self, names: str | Iterable[str]) -> set[int]:
        """Return the numbers of the categories that have these names."""
        chosen: set[int] = set()
        every = _folded(name for category in self for name in category.names)
        if isinstance(names, bytes) or not isinstance(names, Iterable):
            raise VocabularyError(
                f"{names!r} are not names of categories", 'give a text, "purse, table", or a list'
            )
        for name in split_names(names, repr(names), typed_name) if isinstance(names, str) else names:
            if not isinstance(name, str):
                raise VocabularyError(f"{name!r} is not the name of a category", "give texts")
            folded = collapse(name).casefold()
            shown = [n for n, category in enumerate(self) if category.name.casefold() == folded]
            found = shown or [n for n, category in enumerate(self) if folded in _folded(category.names)]
            if not found:
                close = difflib.get_close_matches(folded, [n for c in self for n in c.names], n=3, cutoff=0.7)
                hint = f"did you mean {', '.join(close)}?" if close else "name one of its categories"
                if isinstance(names, str) and collapse(names).casefold() in every:
                    hint = f"a name with a comma goes in double quotes: {typed_name(collapse(names))}"
                raise VocabularyError(f"no category of the vocabulary is called {name!r}", hint)
            chosen.update(found)
        return chosen


def _from_entries(entries: Sequence[Entry], source: str = "") -> Vocabulary:
    if not entries:
        raise VocabularyError(
            f"{f'the vocabulary {source}'.strip()} is empty", "write at least one category into it"
        )
    check_distinct(entries)
    return Vocabulary(tuple(Category(e.names, _isthing(e)) for e in entries))


def _isthing(entry: Entry) -> bool:
    said = known_flag(entry.names) if entry.isthing is None else entry.isthing
    return said is not False


@cache
def _preset(name: str) -> Vocabulary:
    return _from_entries(preset_entries(name), name)


def _folded(names: Iterable[str]) -> set[str]:
    return {name.casefold() for name in names}

"""Reads categories from data: a YAML or JSON file (also in COCO's formats), or a Python list.

Reading gives entries: names, and what the source says about them. `odise_trt.vocabulary` turns entries into
categories.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import VocabularyError
from .names import check_name, collapse, split_names

EXAMPLE = '{"name": "cat", "synonyms": ["cats", "kitten"], "isthing": true}'

_SECTIONS = {"things": True, "stuff": False}
_LISTS_OF_OTHERS = ("names", "classes", "class_names", "labels", "id2label", "label2id", "thing_classes")
_NAME_KEYS = ("name", "names", "synonyms")
_KEYS = (*_NAME_KEYS, "isthing")
# Further keys of a category in the JSON of COCO (panoptic, keypoints), LVIS, Cityscapes, CVAT and others.
# They are ignored.
_NO_ACCOUNT = re.compile(
    "id|color|supercategory|keypoints|skeleton|synset|def|frequency|image_count|instance_count|"
    "trainId|train_id|catId|categoryId|hasInstances|ignoreInEval|metadata|attributes|sublabels|has_parent"
)
# Values of CVAT that say how a category is drawn.
_SHAPES = [
    ("type", shape)
    for shape in ("any", "bbox", "rectangle", "polygon", "polyline", "points", "ellipse", "cuboid", "mask")
]
_OTHER_WORDS = {
    **dict.fromkeys(("label", "title", "class", "category", "classname", "displayname"), "name"),
    **dict.fromkeys(("alias", "aliases", "alternatives", "altnames", "words"), "synonyms"),
    **dict.fromkeys(("thing", "things", "stuff", "isstuff", "kind", "type"), "isthing"),
}


@dataclass(frozen=True)
class Entry:
    """One category as it was written.

    Attributes:
        names: one or more names. The first one is shown.
        isthing: None if the source does not say.
        place: where the entry stands, for messages: "words.txt, line 3".
        numbered: whether it has its own id, which separates it from another entry with the same first name.
        marked: whether its form says that its names belong to one category. Commas alone do not.
    """

    names: tuple[str, ...]
    isthing: bool | None
    place: str
    numbered: bool = False
    marked: bool = False


def category_names(row: Mapping[str, Any], place: str) -> tuple[str, ...]:
    """Return the names of a category that is written as a mapping: `name`, then `names`, then `synonyms`.

    Each value may be missing, null, a text (names separated by commas), or a list of texts, taken as they
    are. If there is a list, `name` is one name and is not split either. A repeated name counts once.

    Args:
        row: the mapping. Other keys are ignored.
        place: where it stands, for messages: "panoptic.json, category 3".

    Raises:
        VocabularyError: there is no name, a name is empty or invisible, or a value is neither text nor list.
    """
    values = {key: row[key] for key in _NAME_KEYS if row.get(key) not in (None, "")}
    listed = any(isinstance(values.get(key), list | tuple) for key in ("names", "synonyms"))
    names: list[str] = []
    for key, value in values.items():
        alone = listed and isinstance(value, str) and key == "name"
        names += _names([value] if alone else value, f"{place}, `{key}`" if key != "name" else place)
    return checked(names, place)


def checked(names: Iterable[str], place: str) -> tuple[str, ...]:
    """Return the names of one category, each once.

    Raises:
        VocabularyError: there is no name, or a name is empty or invisible.
    """
    named = tuple(dict.fromkeys(names))
    if not any(named):
        raise VocabularyError(f"{place} has no name", "write a name, or remove the entry")
    if not all(named):
        raise VocabularyError(f"{place} has an empty name", "remove the comma that has nothing beside it")
    for name in named:
        check_name(name, place)
    return named


def check_distinct(entries: Iterable[Entry]) -> None:
    """Raise if two categories are the same. Upper and lower case are equal, as for CLIP.

    ADE20K has different categories of one name ("bag"). So two categories may have the same first name if
    both have an id, which shows the intention, and if their other names differ.

    Raises:
        VocabularyError: a category occurs twice.
    """
    earlier: dict[str, list[Entry]] = {}
    for entry in entries:
        named = {name.casefold() for name in entry.names}
        others = earlier.setdefault(entry.names[0].casefold(), [])
        for other in others:
            apart = named != {name.casefold() for name in other.names}
            if not (apart and entry.numbered and other.numbered):
                raise VocabularyError(
                    f"the category {entry.names[0]!r} is there twice: {other.place}, and {entry.place}",
                    "join the two, or remove one",
                )
        others.append(entry)


def flag(value: Any, place: str) -> bool:
    """Read the value of `isthing`: true or false, or 1 or 0 as COCO writes it.

    Raises:
        VocabularyError: the value is anything else.
    """
    # `item` turns NumPy's numbers and booleans into Python's.
    plain = value.item() if getattr(value, "shape", None) == () else value
    if not isinstance(plain, bool | int | float) or plain not in (0, 1):
        raise VocabularyError(f"{place} has `isthing` {value!r}", "write true or false")
    return bool(plain)


def read_data(data: Any, place: str) -> list[Entry]:
    """Read YAML or JSON data: a list of categories, `{things: [...], stuff: [...]}`, or COCO's `categories`.

    A category is a text (names separated by commas), a list of names (taken as they are), or a mapping. See
    `category_names`.

    Raises:
        VocabularyError: the data is anything else, or an entry has no names.
    """
    if isinstance(data, Mapping) and "categories" in data:
        both = [key for key in _SECTIONS if key in data]
        if both:
            raise VocabularyError(f"{place} has `categories` and `{both[0]}`", "remove one of the two")
        rows = _list(data["categories"], f"{place}, `categories`")
        return [_entry(row, f"{place}, category {n}", within=True) for n, row in enumerate(rows, 1)]
    if isinstance(data, Mapping):
        return _sections(data, place)
    return [_entry(value, f"{place}, entry {n}") for n, value in enumerate(_list(data, place), 1)]


def _sections(data: Mapping[Any, Any], place: str) -> list[Entry]:
    if not data or set(data) - set(_SECTIONS):
        raise VocabularyError(f"{place} is a mapping with the keys {_listed(data)}", _advice(data))
    return [
        _entry(value, f"{place}, {section} {number}", _SECTIONS[section])
        for section, values in data.items()
        if values is not None or len(data) == 1
        for number, value in enumerate(_list(values, f"{place}, {section}"), 1)
    ]


def _advice(data: Mapping[Any, Any]) -> str:
    usual = "its keys must be `things` and/or `stuff`, each with a list of categories, or `categories`"
    if "annotations" in data or "images" in data:
        return (
            "captions have no categories: give the JSON of the data set that has, for instances or panoptic"
        )
    for key in data:
        if str(key).lower() in _LISTS_OF_OTHERS and isinstance(data[key], list | tuple | Mapping):
            return f"write the names that are under `{key}` as a list of their own; {usual}"
    if data and all(str(key).isdecimal() for key in data):
        names = [value for value in data.values() if isinstance(value, str)]
        shown = json.dumps(names[:2], ensure_ascii=False)
        return f"write the names without their numbers, as a list: {shown}; in Python: list(names.values())"
    return f"{usual}; a category with synonyms is written {EXAMPLE}"


def _entry(value: Any, place: str, isthing: bool | None = None, within: bool = False) -> Entry:
    """Read an entry. `within`: it is in COCO's `categories`, where unknown keys are ignored."""
    if not isinstance(value, Mapping):
        names = checked(_names(value, place), place)
        return Entry(names, isthing, place, marked=True)
    _check_keys(value, place, within)
    said = flag(value["isthing"], place) if "isthing" in value else isthing
    if isthing is not None and said != isthing:
        raise VocabularyError(f"{place} contradicts its section by `isthing`", "remove one of the two")
    return Entry(category_names(value, place), said, place, value.get("id") is not None, marked=True)


def _check_keys(row: Mapping[Any, Any], place: str, within: bool) -> None:
    unknown = [
        key
        for key, value in row.items()
        if key not in _KEYS
        and not _NO_ACCOUNT.fullmatch(str(key))
        and (str(key), value) not in _SHAPES
        # Beside `name`, this key is the group of the category, as "flat" in Cityscapes.
        and not (key == "category" and "name" in row)
    ]
    for key in unknown:
        meant = _meant(str(key))
        if meant is not None:
            raise VocabularyError(f"{place} has the key `{key}`", f"did you mean `{meant}`? as in {EXAMPLE}")
    if not any(key in row for key in _NAME_KEYS):
        raise VocabularyError(
            f"{place} is a mapping with the keys {_listed(row)}, and has no name",
            f"write it as {EXAMPLE}; a name with a colon goes into quotes",
        )
    if unknown and not within:
        raise VocabularyError(
            f"{place} has the key `{unknown[0]}`, which says nothing about a category",
            f"remove it, as in {EXAMPLE}",
        )


def _meant(key: str) -> str | None:
    """Return the known key that `key` is a misspelling of, or another word for."""
    bare = re.sub(r"[\W_]+", "", key.casefold())
    close = difflib.get_close_matches(bare, _KEYS, n=1, cutoff=0.75)
    return _OTHER_WORDS.get(bare) or (close[0] if close else None)


def _names(value: Any, place: str) -> tuple[str, ...]:
    if isinstance(value, str):
        return split_names(value, place, lambda name: json.dumps([name], ensure_ascii=False))
    if not isinstance(value, list | tuple):
        raise VocabularyError(
            f"{place} is {_short(value)}, which is not text", "put it in quotes if it is a name"
        )
    for name in value:
        if not isinstance(name, str):
            raise VocabularyError(
                f"{place} has {_short(name)} among its names, which is not text",
                "put it in quotes if it is a name",
            )
    return tuple(map(collapse, value))


def _list(value: Any, place: str) -> list[Any] | tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise VocabularyError(
            f"{place} is not a list of categories", f'write it as ["purse, handbag", {EXAMPLE}]'
        )
    return value


def _listed(data: Mapping[Any, Any]) -> str:
    shown = ", ".join(f"`{key}`" for key in list(data)[:8]) or "(none)"
    return shown if len(data) <= 8 else f"{shown} and {len(data) - 8} more"


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as error:  # a number with more digits than Python prints, or a broken __repr__
        return f"a {type(value).__name__} ({error})"
    return text if len(text) <= 60 else f"{text[:57]}..."

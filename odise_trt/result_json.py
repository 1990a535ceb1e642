"""The text of a result's JSON: one list item per line, and the categories written once per vocabulary."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .vocabulary import Vocabulary


def categories(vocabulary: Vocabulary) -> list[dict[str, Any]]:
    """Return the entries of "categories", with ids from 1."""
    return [
        {
            "id": number,
            "name": category.name,
            "names": list(category.names),
            "isthing": int(category.isthing),
        }
        for number, category in enumerate(vocabulary, 1)
    ]


class LastCategories:
    """The text of the last vocabulary: ten thousand categories take longer than the segments of a picture.

    A vocabulary never changes, so the same object has the same text.
    """

    def __init__(self) -> None:
        self._known: tuple[Vocabulary, str] | None = None

    def of(self, vocabulary: Vocabulary) -> str:
        """Return the item "categories" for `in_lines`."""
        known = self._known
        if known is None or known[0] is not vocabulary:
            known = self._known = vocabulary, _item("categories", categories(vocabulary))
        return known[1]


last_categories = LastCategories()


def in_lines(data: Mapping[str, Any], *further: str) -> str:
    """Write JSON with one list item per line, so that people can read it and diff can compare it.

    Args:
        further: items that are written already, see `LastCategories`.
    """
    items = [*(_item(key, value) for key, value in data.items()), *further]
    return "{\n" + ",\n".join(items) + "\n}\n"


def _item(key: str, value: Any) -> str:
    # One encoder for all rows: `json.dumps` would make one for each.
    encode = json.JSONEncoder(ensure_ascii=False).encode
    if isinstance(value, list) and value:
        text = "[\n  " + ",\n  ".join(map(encode, value)) + "\n ]"
    else:
        text = encode(value)
    return f" {json.dumps(key)}: {text}"

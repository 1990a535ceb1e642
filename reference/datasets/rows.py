"""How the rows of a JSON have to be written: one that people wrote by hand is told where it is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from .errors import DatasetError

_ID = (int, str)
_NAMES = {int: "a whole number", str: "a text", list: "a list", bool: "true or false"}


@dataclass(frozen=True)
class RowForm:
    """What a row has to have.

    Attributes:
        what: it is.
        types: key -> types that its value may have; with None among them, the key may be missing.
        example: a good one.
    """

    what: str
    types: Mapping[str, tuple[type, ...]]
    example: str

    def check(self, row: Any, path: Path, place: object) -> None:
        """Nothing, for a good row; keys beyond those of the form do not matter.

        Args:
            row: as read from JSON.
            path: of the JSON, for messages.
            place: of the row, for messages: its position, or what it belongs to.

        Raises:
            DatasetError: a key is missing, or its value is of another type.
        """
        # There are a million segments in COCO. JSON has no subclasses, and `true` is no number here.
        if type(row) is dict and all(type(row.get(key)) in types for key, types in self.types.items()):
            return
        where = f"{self.what} {place} of {path}"
        hint = f"write it as {self.example}"
        if type(row) is not dict:
            raise DatasetError(f"{where} is {row!r}", hint)
        gone = [key for key, types in self.types.items() if key not in row and NoneType not in types]
        if gone:
            raise DatasetError(f"{where} has no {', '.join(gone)}", hint)
        key = next(key for key, types in self.types.items() if type(row.get(key)) not in types)
        wanted = " or ".join(_NAMES[kind] for kind in self.types[key] if kind is not NoneType)
        raise DatasetError(f"{where} has {row[key]!r} as {key}, which should be {wanted}", hint)


IMAGE = RowForm("image", {"id": _ID, "file_name": (str,)}, '{"id": 1, "file_name": "street.jpg"}')
ANNOTATION = RowForm(
    "annotation",
    {"image_id": _ID, "file_name": (str,), "segments_info": (list,)},
    '{"image_id": 1, "file_name": "street.png", "segments_info": [{"id": 1, "category_id": 1}]}',
)
SEGMENT = RowForm(
    "segment",
    {"id": (int,), "category_id": (int,), "iscrowd": (int, bool, NoneType)},
    '{"id": 1, "category_id": 1}',
)
CATEGORY = RowForm(
    "category",
    {"id": (int,), "name": (str,), "isthing": (int, bool)},
    '{"id": 1, "name": "cat", "isthing": 1, "synonyms": ["cats"]}',
)
CAPTION = RowForm("caption", {"image_id": _ID, "caption": (str,)}, '{"image_id": 1, "caption": "A cat."}')

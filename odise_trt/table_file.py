"""A vocabulary with its text embeddings in one file, for programs without a text encoder, such as in C++.

Unlike a table of the cache, it says which categories are things, and which text encoder made it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from .errors import OutputError
from .files.paths import expanded, kind_of
from .files.writing import replacing
from .text_table import TextTable

_SUFFIX = ".npz"


def write_table(path: str | os.PathLike[str], table: TextTable, encoder: str) -> Path:
    """Write a table with `numpy.savez`. A file is replaced only if it is such a table.

    Args:
        path: the file. `~` is the home folder.
        table: the vocabulary with its embeddings.
        encoder: identity of the text encoder, see `text_table.encoder_identity`. A bundle with another one
            does not read the file.

    Returns:
        The path. The file has `encoder` and `names` (a JSON list with the names of each category) as texts,
        `isthing` bool (K,), `clip_text_embed` float32 (K', E) and `text_embed` float32 (K', D).

    Raises:
        OutputError: the name does not end with .npz, another file has it, or it cannot be written.
    """
    place = Path(expanded(path))
    check_place(place)
    with replacing(place) as file:
        np.savez(
            file,
            encoder=np.array(encoder),
            names=np.array(json.dumps(table.vocabulary.synonyms)),
            isthing=table.isthing,
            clip_text_embed=table.clip_text_embed,
            text_embed=table.text_embed,
        )
    return place


def check_place(path: Path) -> None:
    """Check that a table can get this name. Call it before long work whose result goes there.

    Raises:
        OutputError: the name does not end with .npz, or something else has it.
    """
    if path.suffix.lower() != _SUFFIX:
        raise OutputError(f"{path} has no name of a table", f"end it with {_SUFFIX}")
    there = kind_of(path)
    if there.is_there and not (there.is_file and _is_table(path)):
        raise OutputError(f"{path} exists and is not a table; it will not be replaced", "choose another name")


def _is_table(path: Path) -> bool:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {"encoder", "names", "text_embed"} <= set(archive.files)
    except Exception:  # numpy and zipfile can raise nearly any error on other files
        return False

"""Features in an .npz file: a map under its name, and all the rest as JSON under `about`. No pickles."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FeatureError, OutputError, hint_for, reason
from ..files.paths import expanded, text_of
from ..files.writing import hint_of_output, replacing

#: Key of the JSON text.
ABOUT = "about"
#: Value of `made_by` in the JSON of every file.
MADE_BY = "odise-trt features"
_SUFFIX = ".npz"
_AGAIN = "make it with odise-trt features, or with Features.save"


def write(
    path: str | os.PathLike[str],
    maps: Mapping[str, np.ndarray],
    about: Mapping[str, Any],
    *,
    half: bool,
    overwrite: bool,
) -> Path:
    """Write the file of `Features.save`.

    Args:
        path, half, overwrite: as there.
        maps: the maps.
        about: all the rest, for JSON.

    Raises:
        FeatureError, OutputError: as there.
    """
    place = Path(expanded(text_of(path)))
    check_place(place, about, overwrite=overwrite)
    text = np.array(json.dumps({"made_by": MADE_BY, **about}))
    stored = {name: _as_stored(name, values, half) for name, values in maps.items()}
    with replacing(place, hint_of_output) as file:
        np.savez(file, allow_pickle=False, **{ABOUT: text}, **stored)
    return place


def check_place(place: Path, facts: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Raise OutputError unless features of an image may be written to `place`.

    Args:
        facts: "image" and "pixels" of the features, see `Features`.

    Raises:
        OutputError: the name does not end in .npz, or a file of that name must stay.
    """
    if place.suffix.lower() != _SUFFIX:
        raise OutputError(f"{place} is no name of an .npz file", "give a name that ends in .npz")
    if overwrite or not os.path.lexists(place):
        return
    about = _about(place)
    if about is None:
        why = "and it holds no features of odise-trt"
    elif not _same_image(about, facts):
        why = f"and it holds features of another image: {about.get('image') or 'one that was no file'}"
    else:
        return
    raise OutputError(f"{place} is there already, {why}", "choose another name, or replace it: --overwrite")


def read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read the file of `Features.load`: the maps, and what `write` got as `about`.

    Raises:
        FeatureError: as there.
    """
    place = Path(expanded(text_of(path)))
    try:
        with _opened(place) as archive:
            about = _decoded(archive)
            if about is not None:
                return {str(name): archive[name] for name in about["strides"]}, about
    except OSError as error:
        raise FeatureError(f"{place} cannot be read: {reason(error)}", hint_for(error)) from error
    except Exception as error:  # damage can surface as nearly anything in zipfile, numpy and json
        raise damaged(place, error) from error
    raise FeatureError(f"{place} holds no features of odise-trt", _AGAIN)


def damaged(path: str | os.PathLike[str], error: Exception) -> FeatureError:
    """Return the error for a file that is damaged, or of another kind."""
    return FeatureError(f"{os.fspath(path)} is no file of features, or is damaged: {error}", _AGAIN)


def _about(place: Path) -> dict[str, Any] | None:
    """Return the JSON of a file. None: it is another file, or cannot be read."""
    try:
        with _opened(place) as archive:
            return _decoded(archive)
    except Exception:  # as in `read`
        return None


@contextmanager
def _opened(place: Path) -> Iterator[Mapping[str, np.ndarray]]:
    """Give the arrays of an .npz file. A single array (.npy) counts as an archive of nothing."""
    with place.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            yield {}
            return
        with archive:
            yield archive


def _decoded(archive: Mapping[str, np.ndarray]) -> dict[str, Any] | None:
    if ABOUT not in archive:
        return None
    about = json.loads(str(archive[ABOUT]))
    return about if isinstance(about, dict) and about.pop("made_by", None) == MADE_BY else None


def _same_image(about: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """Whether two images have the same file name, or the same pixels if they were no files."""
    name, pixels = facts.get("image"), facts.get("pixels")
    if about.get("image") != name:
        return False
    return name is not None or (pixels is not None and about.get("pixels") == pixels)


def _as_stored(name: str, values: np.ndarray, half: bool) -> np.ndarray:
    if not half:
        return np.asarray(values, np.float32)
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float16)
    if np.isinf(narrow).any() and not np.isinf(values).any():
        raise FeatureError(f"{name} has numbers beyond float16 (65504)", "leave --half out")
    return narrow

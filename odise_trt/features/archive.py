"""Features in an .npz file: a map under its name, and all the rest as JSON under `about`. No pickles."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FeatureError, OutputError, hint_for, reason
from ..files.paths import expanded, text_of
from ..files.writing import hint_of_output, replacing
from .maps import Features

#: Key of the JSON text.
ABOUT = "about"
#: Value of `made_by` in the JSON of every file.
MADE_BY = "odise-trt features"
_SUFFIX = ".npz"
_AGAIN = "make it with odise-trt features, or with Features.save"
#: What numpy, zipfile and json raise for a file that is damaged or of another kind.
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, EOFError, zipfile.BadZipFile)


def write(features: Features, path: str | os.PathLike[str], *, half: bool, overwrite: bool) -> Path:
    """Write the file of `Features.save`.

    Raises:
        FeatureError, OutputError: as there.
    """
    place = Path(expanded(text_of(path)))
    check_place(place, features.facts, overwrite=overwrite)
    about = {
        "made_by": MADE_BY,
        "strides": dict(features.strides),
        "size": list(features.size),
        "image_size": list(features.image_size),
        **features.facts,
    }
    maps = {name: _as_stored(name, values, half) for name, values in features.maps.items()}
    with replacing(place, hint_of_output) as file:
        np.savez(file, allow_pickle=False, **{ABOUT: np.array(json.dumps(about))}, **maps)
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


def read(path: str | os.PathLike[str]) -> Features:
    """Read the file of `Features.load`.

    Raises:
        FeatureError: as there.
    """
    place = Path(expanded(text_of(path)))
    try:
        with _opened(place) as archive:
            about = _decoded(archive)
            if about is not None:
                sides = [tuple(int(side) for side in about.pop(key)) for key in ("size", "image_size")]
                strides = {str(name): int(stride) for name, stride in about.pop("strides").items()}
                maps = {name: archive[name] for name in strides}
                about.pop("made_by")
                return Features(maps, strides, (sides[0][0], sides[0][1]), (sides[1][0], sides[1][1]), about)
    except OSError as error:
        raise FeatureError(f"{place} cannot be read: {reason(error)}", hint_for(error)) from error
    except (
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        EOFError,
        zipfile.BadZipFile,
    ) as error:
        raise FeatureError(f"{place} is no file of features, or is damaged: {error}", _AGAIN) from error
    raise FeatureError(f"{place} holds no features of odise-trt", _AGAIN)


def _about(place: Path) -> dict[str, Any] | None:
    """Return the JSON of a file. None: it is another file, or cannot be read."""
    try:
        with _opened(place) as archive:
            return _decoded(archive)
    except (OSError, *_DAMAGE):
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
    return about if isinstance(about, dict) and about.get("made_by") == MADE_BY else None


def _same_image(about: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """Whether two images have the same file name, or the same pixels if they were no files."""
    name = facts.get("image")
    if about.get("image") != name:
        return False
    return name is not None or about.get("pixels") == facts.get("pixels")


def _as_stored(name: str, values: np.ndarray, half: bool) -> np.ndarray:
    if not half:
        return np.asarray(values, np.float32)
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float16)
    if np.isinf(narrow).any() and not np.isinf(values).any():
        raise FeatureError(f"{name} has numbers beyond float16 (65504)", "leave --half out")
    return narrow

"""Names of the results of a picture. They follow the picture's name and are valid on the file system."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .own_results import ENDINGS, origin_of, source_of

#: The most bytes of a file name on nearly all file systems.
_MOST_BYTES = 255
# Room for the longest ending and for the number that equal names get.
_ROOM = max(map(len, ENDINGS)) + len("-99999")
_DIGITS = 10


def output_names(images: Iterable[Path], folder: str | os.PathLike[str] | None = None) -> list[str]:
    """Return a name for the files of each image. All names differ, also when upper and lower case are equal.

    An image gets the first of these that no other image has: the name without suffix ("photo"), with suffix
    ("photo.jpg"), with the folder in front ("holiday-photo.jpg"), and then with a digest of its path.
    An image that has results in `folder` keeps their name, whatever other images are given, so no old results
    are left over.

    Args:
        folder: where the files go. None: not known, all names are new.
    """
    images = list(images)
    limit = _name_limit(folder)
    offered = [[fitting(name, limit) for name in _names_for(image)] for image in images]
    names: list[str | None] = [None] * len(images)
    taken: set[str] = set()
    if folder is not None:
        for position, image in enumerate(images):
            owned = _name_of_results(image, offered[position], Path(folder))
            if owned is not None and _key(owned) not in taken:
                names[position] = owned
                taken.add(_key(owned))
    chosen = [0] * len(images)
    for _ in range(len(offered[0]) - 1 if offered else 0):
        count = Counter(_key(offer[at]) for offer, at in zip(offered, chosen, strict=True))
        for position, offer in enumerate(offered):
            key = _key(offer[chosen[position]])
            if count[key] > 1 or (names[position] is None and key in taken):
                chosen[position] += 1
    for position, offer in enumerate(offered):
        if names[position] is None:
            free = _free(offer[chosen[position]], taken)
            names[position] = free
            taken.add(_key(free))
    return [name for name in names if name is not None]


def fitting(name: str, limit: int = _MOST_BYTES) -> str:
    """Return a name that leaves room for the longest ending. A longer name is cut and gets a digest.

    The limit is in bytes, not letters. No letter is cut in half. A name that fits is not changed.
    """
    room = limit - _ROOM
    if _bytes(name) <= room:
        return name
    mark = "-" + hashlib.sha256(_encoded(name)).hexdigest()[:_DIGITS]
    while _bytes(name) > room - len(mark):
        name = name[:-1]
    return name + mark


def _names_for(image: Path) -> list[str]:
    place = os.path.abspath(image)
    long = f"{os.path.basename(os.path.dirname(place))}-{image.name}"
    digest = hashlib.sha256(_encoded(place)).hexdigest()[:_DIGITS]
    # A path without a name, such as "/", is reported later. Until then it needs some name.
    return [image.stem or "image", image.name or "image", long, f"{long}-{digest}"]


def _name_of_results(image: Path, names: Iterable[str], folder: Path) -> str | None:
    for name in names:
        found = origin_of(os.path.join(folder, f"{name}.json"))
        if found is None or found.file_name != image.name:
            continue
        if not found.is_recorded or found.source == source_of(image, folder):
            return name
    return None


def _free(name: str, taken: set[str]) -> str:
    free, number = name, 1
    while _key(free) in taken:
        number += 1
        free = f"{name}-{number}"
    return free


def _key(name: str) -> str:
    """Return a key that is equal for names that some file systems take as one (case, composed accents)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def _name_limit(folder: str | os.PathLike[str] | None) -> int:
    try:
        return min(_MOST_BYTES, os.pathconf(folder or ".", "PC_NAME_MAX"))
    except (AttributeError, OSError, ValueError):
        return _MOST_BYTES


def _bytes(name: str) -> int:
    return len(_encoded(name))


def _encoded(name: str) -> bytes:
    # A byte that is not UTF-8 counts as three, so the length is never underestimated.
    return name.encode(errors="surrogatepass")

"""Segmenting many images: which files, under which names, and going on when one is bad."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ImageError
from .output import prepare_folder
from .result import Result

if TYPE_CHECKING:
    from .segmenter import Segmenter, Task

#: Suffixes of the files taken from a folder; a file that is named itself may have any.
SUFFIXES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".png",
        ".webp",
        ".bmp",
        ".tif",
        ".tiff",
        ".gif",
        ".avif",
        ".jp2",
        ".ppm",
        ".pgm",
        ".tga",
    )
)
_OWN_OUTPUTS = (".overlay.png", ".panoptic.png")


@dataclass(frozen=True)
class Outcome:
    """What became of one image: files and a result, or an error.

    Attributes:
        image: its path.
        files: overlay, map, JSON; empty if there is an error.
    """

    image: Path
    result: Result | None = None
    files: tuple[Path, ...] = ()
    error: ImageError | None = None


def find_images(patterns: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The images that files, folders and globs name, in order, each once.

    Of a folder: the files in it with the suffix of an image, sorted, but for pictures written by this
    program. A glob (`**` for folders within folders) gives its matches, sorted. A path that does not exist
    is kept, so that it is reported with the other images that cannot be read.

    Raises:
        ImageError: a folder without images, or nothing at all.
    """
    found: dict[str, Path] = {}
    for pattern in patterns:
        text = os.path.expanduser(os.fspath(pattern))
        for path in _matches(text):
            found.setdefault(os.path.realpath(path), path)
    if not found:
        raise ImageError("there is nothing to segment", "name images, folders or globs")
    return list(found.values())


def output_names(images: Iterable[Path]) -> list[str]:
    """A name for the files of each image; no two are the same, not even but for upper and lower case.

    The name without suffix ("photo"); where several have it, with suffix ("photo.jpg"); where these are the
    same too, with the folder in front ("holiday-photo.jpg"), and then with a number at the end.
    """
    images = list(images)
    names = [image.stem for image in images]
    for longer in (
        [image.name for image in images],
        [f"{image.absolute().parent.name}-{image.name}" for image in images],
    ):
        count = Counter(name.casefold() for name in names)
        names = [
            other if count[name.casefold()] > 1 else name for name, other in zip(names, longer, strict=True)
        ]
    taken: set[str] = set()
    for position, name in enumerate(names):
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{names[position]}-{number}"
        taken.add(name.casefold())
        names[position] = name
    return names


def segment_files(
    segmenter: Segmenter,
    images: Iterable[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    task: Task = "panoptic",
    *,
    overlap_threshold: float | None = None,
) -> Iterator[Outcome]:
    """Segment images one after the other and save each as soon as it is done.

    An image that cannot be read gives an outcome with its error, and the next one is taken.

    Args:
        segmenter: with its vocabulary set.
        images: paths, as from `find_images`.
        folder: where the files go, see `Result.save`; names are those of `output_names`.
        task, overlap_threshold: as for a call of the segmenter.

    Raises:
        OutputError: the folder cannot be written to; found out before the first image is read.
        BackendError, VocabularyError: as for a call of the segmenter.
    """
    prepare_folder(folder)
    paths = [Path(image) for image in images]
    for path, name in zip(paths, output_names(paths), strict=True):
        try:
            result = segmenter(path, task, overlap_threshold=overlap_threshold)
        except ImageError as error:
            yield Outcome(path, error=error)
            continue
        yield Outcome(path, result, result.save(folder, name, path.name))


def _matches(text: str) -> list[Path]:
    path = Path(text)
    if path.is_dir():
        try:
            inside = sorted(path.iterdir())
        except OSError as error:
            raise ImageError(f"{text} cannot be read: {error.strerror}") from error
        images = [one for one in inside if _is_image(one)]
        if not images:
            raise ImageError(
                f"the folder {text} has no images", f"suffixes looked for: {', '.join(sorted(SUFFIXES))}"
            )
        return images
    if not path.exists() and glob.has_magic(text):
        matches = [Path(match) for match in sorted(glob.glob(text, recursive=True))]
        return [match for match in matches if not match.is_dir()] or [path]
    return [path]


def _is_image(path: Path) -> bool:
    return (
        path.suffix.lower() in SUFFIXES
        and not path.name.startswith(".")
        and not path.name.lower().endswith(_OWN_OUTPUTS)
        and path.is_file()
    )

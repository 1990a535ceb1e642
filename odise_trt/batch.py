"""Segmenting many images. Each is saved as soon as it is done, and a failed one does not stop the others.

Images are read ahead and results are saved in threads, while the engines work on the images between them.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ArgumentError, OdiseError, OutputError, VocabularyError, error_of
from .files.inputs import check_address, check_picture, find_images, find_inputs
from .files.output import prepare_folder
from .files.output_names import output_names
from .files.own_results import Picture, digest_of, files_of, is_stream, keeper, source_of
from .files.paths import each, expanded_unless_there, real_path
from .files.writing import is_of_one_file
from .preprocess import load_image
from .result import Result
from .task import Task

if TYPE_CHECKING:
    from .segmenter import Segmenter
    from .streaming import Stream, Streamed

__all__ = [
    "Item",
    "Outcome",
    "find_images",
    "find_inputs",
    "output_names",
    "plan",
    "segment",
    "segment_files",
]

#: After this many images in a row that could not be saved in the output folder, the rest is not tried.
PATIENCE = 3
#: An image that took so many seconds is saved and reported before the next one begins. To save it meanwhile
#: would win a few percent, and its report would come one image late.
LONG = 2.0


@dataclass(frozen=True)
class Outcome:
    """The outcome of one image: files and a result, or an error.

    Attributes:
        image: path of the image.
        files: overlay, map, JSON, and the file for detectron2 if requested. Empty if there is an error.
        error: what is wrong with this image, its files, or what it needs.
        tried: False if the image was skipped because the output folder cannot be written to. `error` has the
            reason.
    """

    image: Path
    result: Result | None = None
    files: tuple[Path, ...] = ()
    error: OdiseError | None = None
    tried: bool = True


@dataclass(frozen=True)
class Item:
    """An image to be segmented, and the name of its results. It stands for its path.

    Attributes:
        image: path of the image.
        name: name of the result files.
        error: why the image must not be segmented. None: it may be.
    """

    image: Path
    name: str
    error: OdiseError | None = None

    def __fspath__(self) -> str:
        return str(self.image)


def segment_files(
    segmenter: Segmenter,
    images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    task: Task = "panoptic",
    *,
    overlap_threshold: float | None = None,
    overwrite: bool = False,
    detectron2: bool = False,
) -> Generator[Outcome, None, None]:
    """Segment images in their order and save each as soon as it is done.

    The next image is read, and the one before is saved, while the engines work.

    An error of one image (it cannot be read, its files cannot be written, there is not enough memory, an
    engine fails) becomes its outcome, and the next image follows. If the folder cannot be written to for
    three images in a row, for example on a full disk, the rest is not tried, and the outcomes say so.

    Files that this program did not write are not replaced, see `Result.save`. The images are never replaced.

    Args:
        segmenter: a segmenter whose vocabulary is set.
        images: one path or many, as from `find_images`.
        folder: where the files go, see `Result.save`. Their names are those of `output_names`.
        task, overlap_threshold: as for a call of the segmenter.
        overwrite: replace files of other programs too, but never the images.
        detectron2: also write `<name>.detectron2.npz`, see `Result.save`. For the task panoptic only.

    Raises:
        ArgumentError: the task or the threshold is invalid, or `images` has no paths.
        OutputError: the folder cannot be written to. This is checked before the first image is read.
        VocabularyError: no vocabulary is set.
    """
    place = prepare_folder(folder)
    items = plan(images, place)
    check = partial(_check, folder=place, overwrite=overwrite)
    save = partial(_save, folder=place, overwrite=overwrite, detectron2=detectron2)
    stream = segmenter.stream(items, task, read=check, overlap_threshold=overlap_threshold)
    count, failures = 0, 0
    with closing(_saved(stream, save)) as outcomes:
        for outcome in outcomes:
            yield outcome
            count += 1
            failures = failures + 1 if is_of_the_place(outcome.error) else 0
            if failures == PATIENCE:
                break
    for left in items[count:]:
        yield Outcome(left.image, error=outcome.error, tried=False)


def plan(images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], folder: Path) -> list[Item]:
    """List the images and the names of their results. A result that would replace an image is an error."""
    given = each(images)
    paths = [Path(expanded_unless_there(text)) for text in given]
    images_there = _Places(paths)
    items = []
    for text, path, name in zip(given, paths, output_names(paths, folder), strict=True):
        error: OdiseError | None = None
        try:
            check_address(text)
            images_there.check(folder, name, path)
        except OdiseError as found:
            error = found
        items.append(Item(path, name, error))
    return items


def segment(
    segmenter: Segmenter,
    item: Item,
    folder: Path,
    task: Task = "panoptic",
    overlap_threshold: float | None = None,
    overwrite: bool = False,
    detectron2: bool = False,
) -> Outcome:
    """Segment one image and save its results. An error of the image goes into the outcome.

    Raises:
        ArgumentError, VocabularyError: as `segment_files`. Every other image would fail in the same way.
    """
    try:
        image = _check(item, folder, overwrite)
        result = segmenter(image, task, overlap_threshold=overlap_threshold)
        files = result.save(folder, item.name, overwrite=overwrite, detectron2=detectron2)
        return Outcome(item.image, result, files)
    except (VocabularyError, ArgumentError):
        raise
    except Exception as error:
        return Outcome(item.image, error=error_of(item.image, error))


def _saved(stream: Stream, save: Callable[[Streamed], Outcome]) -> Generator[Outcome, None, None]:
    """Save what a stream gives in threads, as many as the stream is deep. Outcomes come in order."""
    saving: deque[Future[Outcome]] = deque()
    with stream, ThreadPoolExecutor(stream.depth, "odise-trt-save") as pool:
        try:
            begin = time.perf_counter()
            for one in stream:
                saving.append(pool.submit(save, one))
                behind = stream.depth if time.perf_counter() - begin < LONG else 0
                while len(saving) > behind:
                    yield saving.popleft().result()
                begin = time.perf_counter()
        except GeneratorExit:
            for future in saving:
                future.cancel()
            raise
        except BaseException:
            # Ctrl-C, or an error of all images: what was segmented before is saved and told.
            yield from (future.result() for future in saving)
            raise
        yield from (future.result() for future in saving)


def _save(one: Streamed, folder: Path, overwrite: bool, detectron2: bool) -> Outcome:
    """Save the results of one image. An error of the image goes into the outcome."""
    item: Item = one.source
    if one.error is not None:
        return Outcome(item.image, error=one.error)
    try:
        files = one.result.save(folder, item.name, overwrite=overwrite, detectron2=detectron2)
        return Outcome(item.image, one.result, files)
    except ArgumentError:
        raise
    except Exception as error:
        return Outcome(item.image, error=error_of(item.image, error))


def is_of_the_place(error: BaseException | None) -> bool:
    """Whether the whole folder cannot be written to (full, gone or read-only), rather than one file in it."""
    cause = error.__cause__ if isinstance(error, OutputError) else None
    return isinstance(cause, OSError) and not is_of_one_file(cause)


def _check(item: Item, folder: Path, overwrite: bool) -> Path:
    """Return the path of an image that may be segmented.

    Raises:
        OdiseError: it may not, or its results could not be saved.
    """
    if item.error is not None:
        raise item.error
    check_picture(item.image)
    if not overwrite:
        _check_files(item, folder)
    return item.image


def _check_files(item: Item, folder: Path) -> None:
    """Raise an error before the work if the results could not be saved after it."""
    if is_stream(item.image):
        return  # A stream is identified by its pixels, and they can be read only once.
    image = item.image
    picture = Picture(image.name, source_of(image, folder), lambda: digest_of(load_image(image)))
    keep = keeper(folder, item.name, picture)
    for file in files_of(item.name):
        if os.path.lexists(folder / file):
            keep(folder / file)


class _Places:
    """The places of the images, by path and by file identity: a link or another spelling is the same file."""

    def __init__(self, images: Iterable[Path]) -> None:
        self._folders: dict[Path, str] = {}
        self._images: dict[object, Path] = {}
        for image in images:
            for place in self._places(image):
                self._images.setdefault(place, image)

    def check(self, folder: Path, name: str, image: Path) -> None:
        """Raise OutputError if one of the files `name` would replace an image."""
        for file in files_of(name):
            for place in self._places(folder / file):
                other = self._images.get(place)
                if other is not None:
                    raise OutputError(
                        f"{folder / file}, a result of {image}, would replace an image: {other}",
                        "choose another folder with --output",
                    )

    def _places(self, path: Path) -> Iterator[object]:
        folder = self._folders.get(path.parent)
        if folder is None:
            folder = self._folders[path.parent] = real_path(path.parent)
        yield os.path.join(folder, path.name)
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return
        yield status.st_dev, status.st_ino

"""The work of `odise-trt features`: photos in, maps and pictures out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from odise_trt.cli import console
from odise_trt.cli.progress import progress_bars
from odise_trt.errors import ArgumentError, BundleError, OdiseError, error_of
from odise_trt.extraction import facts_of
from odise_trt.files.inputs import check_picture, find_inputs
from odise_trt.preprocess import load_image
from reference.features.pictures import draw_features, is_picture, write_picture
from reference.features.places import Place, places
from reference.features.sources import Request, Source


@dataclass(frozen=True)
class Drawing:
    """How pictures are drawn.

    Attributes:
        clusters, seed: of k-means.
        names: the features that are drawn. None: all that were requested.
    """

    clusters: int = 5
    seed: int = 0
    names: tuple[str, ...] | None = None


def write_features(
    images: Iterable[str],
    output: Path | None,
    picture: Path | None,
    open_source: Callable[[Sequence[str] | None], Source],
    request: Request,
    drawing: Drawing,
    *,
    half: bool = False,
    overwrite: bool = False,
) -> bool:
    """Write the features of images, and print the paths of the files.

    An error of one of several images is printed, and the next image follows.

    Args:
        images: files, folders, globs.
        output, picture: see `places`.
        open_source: opens what computes the features, given the names that are needed. It is called once,
            when the places are known.
        request: what is wanted of every image.
        drawing: how pictures are drawn.
        half: write maps as float16.
        overwrite: replace files of others.

    Returns:
        Whether everything was written.

    Raises:
        OdiseError: the only image failed, the source cannot be opened, or it does not have what is requested.
    """
    inputs = find_inputs(images)
    if inputs.refused and not inputs.images:
        raise inputs.refused[0].error
    for line in inputs.notes():
        console.warn(line)
    wrong: list[OdiseError] = [one.error for one in inputs.refused]
    photos = [path for path in inputs.images if not is_picture(path) or len(inputs.images) == 1]
    where = places(photos, output, picture)
    if any(place.picture is not None for place in where):
        # A package that is not installed is named before the work, and before any folder is made.
        import reference.features.cluster  # noqa: F401
    if all(place.maps is None for place in where) and request.names is None:
        # Only what is drawn has to be computed.
        request = replace(request, names=drawing.names)
    if len(where) == 1:
        _check(where[0], overwrite)
    source = open_source(request.names)
    note = console.SEEDED if source.seeded else ""
    screen = console.errors()
    with progress_bars(screen, hidden=len(where) == 1 or not screen.is_terminal, transient=True) as bars:
        task = bars.add_task("features", total=len(where))
        for place in where:
            try:
                if len(where) > 1:
                    _check(place, overwrite)
                for path in _write(place, source, request, drawing, note, half, overwrite):
                    console.plain(console.output(), str(path))
            except Exception as error:
                # A bundle or an option that is wrong is so for every image.
                if len(where) == 1 or isinstance(error, BundleError | ArgumentError):
                    raise
                wrong.append(error_of(place.photo, error))
                console.error(f"{type(wrong[-1]).__name__}: {wrong[-1]}", screen)
            bars.advance(task)
    if wrong:
        console.error(f"{len(wrong)} of {len(where) + len(inputs.refused)} images have no features")
    return not wrong


def _check(place: Place, overwrite: bool) -> None:
    check_picture(place.photo)
    pixels = load_image(place.photo)
    place.check(facts_of(place.photo, pixels), overwrite=overwrite)


def _write(
    place: Place, source: Source, request: Request, drawing: Drawing, note: str, half: bool, overwrite: bool
) -> list[Path]:
    features = source.features(place.photo, request)
    written = []
    if place.maps is not None:
        written.append(features.save(place.maps, half=half, overwrite=overwrite))
    if place.picture is not None:
        names = [name for name in drawing.names or () if name in features.maps]
        drawn = draw_features(
            load_image(place.photo), features, drawing.clusters, drawing.seed, note, names or None
        )
        write_picture(drawn, place.picture, place.photo, overwrite=overwrite)
        written.append(place.picture)
    return written

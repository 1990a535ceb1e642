"""`odise-trt scenes`, also as `python -m reference.scenes`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from odise_trt.cli.places import folder as place

#: A scene of this side takes some gigabytes while it is drawn.
_LARGEST = 4096
_MOST = 1_000_000
_LAST_SEED = 2**31 - 1


class Thing(StrEnum):
    """Choices of --without: the names of `reference.scenes.things.THINGS`, which takes long to import."""

    house = "house"
    tree = "tree"
    car = "car"
    boat = "boat"
    ball = "ball"
    person = "person"
    flower = "flower"
    bird = "bird"
    balloon = "balloon"
    rock = "rock"


def scenes(
    seed: Annotated[
        int, typer.Option(min=0, max=_LAST_SEED, help="Of the scene; with --count, of the first one.")
    ] = 7,
    size: Annotated[tuple[int, int], typer.Option(help=f"Height and width in pixels, 64 to {_LARGEST}.")] = (
        512,
        512,
    ),
    output: Annotated[
        Path | None,
        typer.Option(
            help="A picture; with --count a folder. Default: scene.png, or scenes.",
            show_default=False,
            parser=place,
            metavar="PATH",
        ),
    ] = None,
    truth: Annotated[
        bool, typer.Option("--truth", help="Write the panoptic map and its segments, too.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    count: Annotated[
        int | None,
        typer.Option(min=1, max=_MOST, help="Write a dataset of so many scenes instead.", show_default=False),
    ] = None,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Scenes that the demo model was not trained on.")
    ] = False,
    without: Annotated[
        list[Thing] | None,
        typer.Option(help="A thing to leave out; may be given several times.", show_default=False),
    ] = None,
    more: Annotated[
        list[Thing] | None,
        typer.Argument(metavar="[NAME]...", help="More things to leave out, after --without NAME."),
    ] = None,
) -> None:
    """Draw a scene; with --truth also its map and segments, as NAME.panoptic.png and NAME.json.

    With --count, write a folder of scenes in COCO's panoptic format; the first one has the seed.
    """
    if more and not without:
        raise typer.BadParameter("it stands alone; names of things come after --without", param_hint=more[0])
    for option, given in (("--truth", truth), ("--overwrite", overwrite)):
        if count is not None and given:
            raise typer.BadParameter(
                "it is for one scene, and --count writes a dataset: leave one of them out", param_hint=option
            )
    from .dataset import FIRST_HELD_OUT, write_dataset
    from .scene import SMALLEST, make_scene
    from .scene_file import write_scene

    if not all(SMALLEST <= side <= _LARGEST for side in size):
        raise typer.BadParameter(f"{SMALLEST} to {_LARGEST} pixels can be drawn", param_hint="--size")
    first = seed + FIRST_HELD_OUT * held_out
    # Names may follow --without in a row: the first is its value, the others are arguments.
    names = [name.value for name in (*(without or ()), *(more or ()))]
    if count is not None:
        folder = output or Path("scenes")
        write_dataset(folder, count, *size, first_seed=first, without=names)
        typer.echo(folder)
        return
    scene = make_scene(first, *size, without=names)
    typer.echo(write_scene(scene, output or Path("scene.png"), truth=truth, overwrite=overwrite))

"""`odise-trt features`, also as `python -m reference.visualize_features`."""

from __future__ import annotations

from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from odise_trt.cli.completion import devices_like
from odise_trt.cli.places import folder
from odise_trt.features.names import PROJECTED, RAW, requested
from reference.completion import presets_like
from reference.features.names import UNET_FEATURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reference.features.maps import Caption
    from reference.features.sources import Source


class CaptionName(StrEnum):
    """Choices of --caption."""

    implicit = "implicit"
    empty = "empty"


#: Maps each choice to its literal for the type checker, which does not infer the literal from the choice.
_CAPTIONS: dict[CaptionName, Caption] = {CaptionName.implicit: "implicit", CaptionName.empty: "empty"}


def features(
    images: Annotated[
        list[str],
        typer.Argument(help="Images, folders, or globs in quotes.", show_default=False),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Maps: an .npz file, or a folder for several images. A .png file is a picture.",
            parser=folder,
            metavar="PATH",
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="K-means picture: a .png file, or a folder. Without --output: IMAGE.features.png, here.",
            parser=folder,
            metavar="PATH",
        ),
    ] = None,
    feature: Annotated[
        str | None,
        typer.Option(
            help=f"Of {', '.join(RAW + PROJECTED)}, or all. Default: all; in pictures, those of the UNet.",
            metavar="NAME[,NAME...]",
        ),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Write maps as float16.")] = False,
    size: Annotated[
        str | None,
        typer.Option(
            help="Sides of the resized image in pixels. Default: the preset's.", metavar="SHORT[,LONG]"
        ),
    ] = None,
    time_step: Annotated[int, typer.Option(help="Diffusion step of raw features, 0 to 999.")] = 0,
    caption: Annotated[
        CaptionName | None,
        typer.Option(help="What the UNet is told. Default: implicit, or empty if weights have no captioner."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Sizes of the model. Default: demo.", autocompletion=presets_like)
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="demo, official, random:SEED, or a safetensors file. Default: demo.")
    ] = None,
    engines: Annotated[
        Path | None,
        typer.Option(help="A bundle: its engines instead of PyTorch.", parser=folder, metavar="PATH"),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="With --engines: cpu, cuda or cuda:1.", autocompletion=devices_like)
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="With --engines: CPU threads.")] = None,
    clusters: Annotated[int, typer.Option(help="Groups per feature in pictures.")] = 5,
    seed: Annotated[int, typer.Option(help="Of k-means.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace other files of the names.")] = False,
) -> None:
    """Write the diffusion features of images for other work, or draw which regions have similar ones."""
    if engines is None and (device is not None or threads is not None):
        raise typer.BadParameter("--device and --threads are for --engines")
    if engines is not None and (preset, weights, caption) != (None, None, None):
        raise typer.BadParameter("--preset, --weights and --caption are for PyTorch; a bundle has its own")
    told = None if caption is None else _CAPTIONS[caption]
    names = None if feature is None or feature == "all" else tuple(feature.split(","))
    requested(names, time_step, caption=told or "implicit")
    short_side, max_side = (None, None) if size is None else _sides(size)

    if engines is None:
        # A package that is not installed is named before any folder is made.
        import reference.features.maps  # noqa: F401
    from reference.features.run import Drawing, write_features
    from reference.features.sources import Engines, Request, load_model, open_engines

    drawing = Drawing(clusters, seed, UNET_FEATURES if feature is None else None)
    with ExitStack() as stack:

        def source(wanted: Sequence[str] | None) -> Source:
            if engines is not None:
                return Engines(stack.enter_context(open_engines(engines, device, threads)))
            return load_model(preset or "demo", weights or "demo", told, wanted)

        done = write_features(
            images,
            output,
            picture,
            source,
            Request(names, short_side, max_side, time_step),
            drawing,
            half=half,
            overwrite=overwrite,
        )
    if not done:
        raise typer.Exit(1)


def _sides(text: str) -> tuple[int, int | None]:
    parts = text.split(",")
    if len(parts) > 2 or not all(part.strip().isdecimal() for part in parts):
        raise typer.BadParameter(f"{text!r} is not SHORT or SHORT,LONG, in pixels", param_hint="--size")
    return int(parts[0]), int(parts[1]) if len(parts) == 2 else None

"""`odise-trt features`, also as `python -m reference.visualize_features`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from odise_trt.cli.console import SEEDED
from reference.completion import presets_like
from reference.features.names import FEATURES, UNET_FEATURES


def features(
    photo: Annotated[Path, typer.Argument(help="An image file.", show_default=False)],
    clusters: Annotated[int, typer.Option(help="Groups per feature.")] = 5,
    feature: Annotated[
        str, typer.Option(help=f"Of {', '.join(FEATURES)}, or all.", metavar="NAME[,NAME...]")
    ] = ",".join(UNET_FEATURES),
    preset: Annotated[str, typer.Option(help="Sizes of the model.", autocompletion=presets_like)] = "demo",
    weights: Annotated[
        str, typer.Option(help="demo, official, random:SEED, or a safetensors file.")
    ] = "demo",
    seed: Annotated[int, typer.Option(help="Of k-means.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option(help="PNG file. Default: PHOTO.features.png, here.", show_default=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another file of the name.")] = False,
) -> None:
    """Draw which regions of a photo have similar diffusion features: k-means, one panel per feature."""
    from odise_trt.preprocess import load_image
    from reference.checkpoint import describe_weights, load_weights
    from reference.features.maps import feature_maps
    from reference.features.pictures import check_place, draw_features, write_picture

    pixels = load_image(photo)
    place = output or Path(f"{photo.stem}.features.png")
    check_place(place, photo, overwrite=overwrite)
    names = FEATURES if feature == "all" else tuple(feature.split(","))
    note = SEEDED if describe_weights(preset, weights)["seeded"] else ""
    maps = feature_maps(load_weights(preset, weights), pixels, names)
    write_picture(draw_features(pixels, maps, clusters, seed, note), place, photo, overwrite=overwrite)
    typer.echo(place)

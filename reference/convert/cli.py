"""`odise-trt convert`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from odise_trt.cli.console import errors, plain
from odise_trt.cli.places import folder
from odise_trt.errors import ArgumentError, OutputError
from reference.completion import presets_like


class To(StrEnum):
    """What to write."""

    odise_trt = "odise-trt"
    release = "release"
    diffusers = "diffusers"


class Precision(StrEnum):
    """Types of the written tensors."""

    single = "single"
    stored = "stored"


def _file(help: str, *names: str) -> Any:
    return typer.Option(*names, help=help, parser=folder, metavar="PATH", show_default=False)


def convert(
    preset: Annotated[str, typer.Argument(help="odise-label or odise-caption.", autocompletion=presets_like)],
    odise: Annotated[Path | None, _file("Checkpoint of ODISE (.pth).")] = None,
    sd: Annotated[
        Path | None, _file("Stable Diffusion v1.3: sd-v1-3.ckpt, or a folder of diffusers.")
    ] = None,
    clip: Annotated[Path | None, _file("CLIP ViT-L/14-336 of OpenAI, open_clip or transformers.")] = None,
    output: Annotated[
        Path | None, _file("What to write. Default: PRESET.safetensors, here.", "--output", "-o")
    ] = None,
    frozen: Annotated[
        bool, typer.Option("--frozen", help="Write UNet, VAE and CLIP only; no --odise.")
    ] = False,
    allow_version: Annotated[
        list[str] | None,
        typer.Option(
            help="Accept another version, such as sd-1.5. The error names it.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="single: all fp32. stored: as the files have it, 5.3 instead of 6.1 GB.")
    ] = Precision.single,
    to: Annotated[
        To, typer.Option(help="odise-trt: the file for --weights. The others: back, to what others read.")
    ] = To.odise_trt,
    weights: Annotated[Path | None, _file("A converted file, for the way back.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file.")] = False,
) -> None:
    """Make one file of the official ones: ODISE, Stable Diffusion and CLIP. Nothing in them is executed.

    Files that are not given are looked for where `odise-trt download` and the official code put them.
    """
    if to is To.odise_trt:
        if weights is not None:
            raise ArgumentError("--weights is for the way back", "add --to release or --to diffusers")
        if frozen and odise is not None:
            raise ArgumentError("--frozen writes no tensor of --odise", "leave one of them out")
        default = f"{preset}-frozen.safetensors" if frozen else f"{preset}.safetensors"
        place = _place(output or Path(default), overwrite)
        _forward(preset, odise, sd, clip, place, frozen, frozenset(allow_version or ()), precision)
        return
    if odise is not None or sd is not None or clip is not None or frozen or allow_version:
        raise ArgumentError(f"--to {to} reads one converted file", "give it with --weights, and nothing else")
    if precision is not Precision.single:
        raise ArgumentError(f"--precision does nothing for --to {to}", "leave it out: types stay as they are")
    if overwrite and to is To.diffusers:
        raise ArgumentError("--overwrite replaces a file, not a folder", "give a new folder")
    if weights is None:
        raise ArgumentError(f"--to {to} needs the converted file", "give it with --weights")
    _back(preset, to, weights, output, overwrite)


def _forward(
    preset: str,
    odise: Path | None,
    sd: Path | None,
    clip: Path | None,
    output: Path,
    frozen: bool,
    accepted: frozenset[str],
    precision: Precision,
) -> None:
    from reference.convert.convert import Inputs, convert
    from reference.convert.official import found
    from reference.download.console import ConsoleReporter

    reporter = ConsoleReporter(errors())
    paths = found(preset, odise, sd, clip, frozen=frozen, reporter=reporter)
    made = convert(
        preset,
        Inputs(*paths),
        output,
        accepted=accepted,
        precision=precision.value,
        reporter=reporter,
    )
    told = ", ".join(f"{role.replace('_', ' ')}: {name}" for role, name in made.versions.items())
    plain(errors(), f"{made.tensors} tensors, {made.bytes / 1e9:.2f} GB; {told}")
    plain(errors(), f"fingerprint of the UNet: {made.unet_fingerprint}")
    typer.echo(made.path)


def _back(preset: str, to: To, weights: Path, output: Path | None, overwrite: bool) -> None:
    from reference.convert.back import to_diffusers, to_release
    from reference.download.console import ConsoleReporter

    if to is To.release:
        place = _place(output or Path(f"{preset}.pth"), overwrite)
        count = to_release(preset, weights, place)
        plain(errors(), f"{count} tensors of the trained part")
    else:
        place = output or Path(f"{preset}-diffusers")
        counts = to_diffusers(preset, weights, place, ConsoleReporter(errors()))
        plain(errors(), ", ".join(f"{part}: {count} tensors" for part, count in counts.items()))
    typer.echo(place)


def _place(output: Path, overwrite: bool) -> Path:
    if output.is_dir():
        raise OutputError(f"{output} is a folder", "give the name of a file")
    if output.exists() and not overwrite:
        raise OutputError(f"{output} is there already", "give another --output, or --overwrite")
    return output

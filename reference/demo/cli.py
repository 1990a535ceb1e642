"""`odise-trt train-demo`, also as `python -m reference.demo` and `make train-demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from odise_trt.cli import console
from odise_trt.cli.completion import devices_like
from odise_trt.cli.places import folder


def train_demo(
    output: Annotated[
        Path, typer.Option(help="Folder for the weights.", parser=folder, metavar="PATH")
    ] = Path("training/demo"),
    smoke: Annotated[bool, typer.Option("--smoke", help="Every part for a few steps.")] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of PyTorch. Default: all cores.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="cpu, cuda or cuda:1. Default: a GPU if there is one.", autocompletion=devices_like
        ),
    ] = None,
) -> None:
    """Train the demo model from nothing, and write weights in half precision that --weights takes."""
    # Here: a package that is not installed is named by the command, and --help does without.
    import torch

    from odise_trt.files.output import prepare_folder
    from reference.checkpoint import save_weights
    from reference.demo.recipe import FULL, SMOKE
    from reference.demo.training import train
    from reference.device import choose_device
    from reference.weights.shipped import CAPTION, LABEL

    if threads:
        torch.set_num_threads(threads)
    place = choose_device(device)
    out, output = console.output(), prepare_folder(output)
    label, caption = train(output, SMOKE if smoke else FULL, out, place)
    save_weights(output / LABEL.name, label.half())
    save_weights(output / CAPTION.name, caption.half(), part="trainable")
    console.plain(out, f"weights: {output / LABEL.name}, {output / CAPTION.name}")

"""`python -m reference.demo --output training`: the demo model's weights from nothing."""

from __future__ import annotations

import argparse
from pathlib import Path

from odise_trt.cli import boundary, console
from odise_trt.files.output import prepare_folder


def main(arguments: list[str] | None = None) -> None:
    """Train, and write weights in half precision that `--weights FILE` takes."""
    parser = argparse.ArgumentParser(prog="python -m reference.demo", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("training/demo"))
    parser.add_argument("--smoke", action="store_true", help="every part for a few steps")
    parser.add_argument("--threads", type=int, help="of PyTorch; all cores by default")
    parser.add_argument("--device", help="cpu, cuda or cuda:1; a GPU if there is one")
    options = parser.parse_args(arguments)
    # Here: a package that is not installed is told of by the command, and --help does without.
    import torch

    from reference.checkpoint import save_weights
    from reference.demo.recipe import FULL, SMOKE
    from reference.demo.training import train
    from reference.device import choose_device
    from reference.weights.shipped import CAPTION, LABEL

    if options.threads:
        torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    out, output = console.output(), prepare_folder(options.output)
    label, caption = train(output, SMOKE if options.smoke else FULL, out, device)
    save_weights(output / LABEL.name, label.half())
    save_weights(output / CAPTION.name, caption.half(), part="trainable")
    console.plain(out, f"weights: {output / LABEL.name}, {output / CAPTION.name}")


if __name__ == "__main__":
    boundary.run(main)

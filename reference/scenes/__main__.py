"""`python -m reference.scenes --seed 7 --output scene.png`, or a dataset: `--count 200 --output scenes`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from odise_trt.cli import boundary
from odise_trt.files.paths import expanded, is_address

from .dataset import FIRST_HELD_OUT, write_dataset
from .scene import SMALLEST, make_scene
from .scene_file import write_scene
from .things import THINGS

#: A scene of this side takes some gigabytes while it is drawn.
_LARGEST = 4096
_MOST = 1_000_000
_LAST_SEED = 2**31 - 1


def main() -> None:
    """Write a scene; with --truth also its map and segments, as `<name>.panoptic.png` and `<name>.json`.

    With --count a folder of scenes in COCO's panoptic format, whose first has the seed.
    """
    options = _options()
    seed: int = options.seed + FIRST_HELD_OUT * options.held_out
    if options.count is not None:
        folder = options.output or Path("scenes")
        write_dataset(folder, options.count, *options.size, first_seed=seed, without=options.without)
        print(folder)
        return
    scene = make_scene(seed, *options.size, without=options.without)
    print(
        write_scene(
            scene, options.output or Path("scene.png"), truth=options.truth, overwrite=options.overwrite
        )
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m reference.scenes", description=__doc__)
    parser.add_argument("--seed", type=_whole(0, _LAST_SEED), default=7)
    parser.add_argument(
        "--size",
        type=_whole(SMALLEST, _LARGEST),
        nargs=2,
        default=(512, 512),
        metavar=("HEIGHT", "WIDTH"),
        help=f"in pixels, {SMALLEST} to {_LARGEST}",
    )
    parser.add_argument("--output", type=_path, help="a picture, scene.png; with --count a folder, scenes")
    parser.add_argument("--truth", action="store_true", help="write the panoptic map and its segments too")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument("--count", type=_whole(1, _MOST), help="write a dataset of so many scenes instead")
    parser.add_argument("--held-out", action="store_true", help="scenes that the demo model was not shown")
    parser.add_argument(
        "--without",
        nargs="+",
        choices=tuple(THINGS),
        default=(),
        metavar="NAME",
        help=f"things to leave out: {', '.join(THINGS)}",
    )
    options = parser.parse_args()
    for option in ("truth", "overwrite"):
        if options.count is not None and getattr(options, option):
            parser.error(f"--{option} is for one scene, and --count writes a dataset: leave one of them out")
    return options


def _whole(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return value

    return number


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("it is empty; is a variable of the shell unset?")
    if is_address(text):
        raise argparse.ArgumentTypeError(f"{text} is an address: give a path on this machine")
    return Path(expanded(text))


if __name__ == "__main__":
    boundary.run(main)

"""`python -m reference.scenes --seed 7 --output scene.png`, or a dataset: `--count 200 --output scenes`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from PIL import Image

from odise_trt.cli import boundary
from odise_trt.coco_panoptic import encode_ids

from .dataset import FIRST_HELD_OUT, write_dataset
from .scene import SCENE_VOCABULARY, make_scene


def main() -> None:
    """Write a scene; with --truth also its map and segments, as `<name>.panoptic.png` and `<name>.json`.

    With --count a folder of scenes in COCO's panoptic format, whose first has the seed.
    """
    parser = argparse.ArgumentParser(prog="python -m reference.scenes", description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--size", type=int, nargs=2, default=(512, 512), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--output", type=Path, default=Path("scene.png"))
    parser.add_argument("--truth", action="store_true", help="write the panoptic map and its segments too")
    parser.add_argument("--count", type=int, help="write a dataset of so many scenes instead")
    parser.add_argument("--held-out", action="store_true", help="scenes that the demo model was not shown")
    parser.add_argument("--without", nargs="*", default=(), metavar="NAME", help="things to leave out")
    options = parser.parse_args()
    seed: int = options.seed + FIRST_HELD_OUT * options.held_out
    if options.count is not None:
        write_dataset(options.output, options.count, *options.size, first_seed=seed, without=options.without)
        print(options.output)
        return
    scene = make_scene(seed, *options.size, without=options.without)
    output: Path = options.output
    output.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene.image).save(output)
    if options.truth:
        Image.fromarray(encode_ids(scene.panoptic)).save(output.with_suffix(".panoptic.png"))
        rows = [asdict(s) | {"name": SCENE_VOCABULARY[s.category_id].name} for s in scene.segments]
        output.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(output)


if __name__ == "__main__":
    boundary.run(main)

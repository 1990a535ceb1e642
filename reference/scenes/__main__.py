"""`python -m reference.scenes --seed 7 --output scene.png`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from PIL import Image

from odise_trt.coco_panoptic import encode_ids

from .scene import SCENE_VOCABULARY, make_scene


def main() -> None:
    """Write a scene; with --truth also its map and segments, as `<name>.panoptic.png` and `<name>.json`."""
    parser = argparse.ArgumentParser(prog="python -m reference.scenes", description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--size", type=int, nargs=2, default=(512, 512), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--output", type=Path, default=Path("scene.png"))
    parser.add_argument("--truth", action="store_true", help="write the panoptic map and its segments too")
    options = parser.parse_args()
    scene = make_scene(options.seed, *options.size)
    output: Path = options.output
    output.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene.image).save(output)
    if options.truth:
        Image.fromarray(encode_ids(scene.panoptic)).save(output.with_suffix(".panoptic.png"))
        rows = [asdict(s) | {"name": SCENE_VOCABULARY[s.category_id].name} for s in scene.segments]
        output.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(output)


if __name__ == "__main__":
    main()

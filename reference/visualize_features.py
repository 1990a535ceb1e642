"""`python -m reference.visualize_features photo.jpg`: what the frozen diffusion model tells apart.

k-means over the raw diffusion features of a photo, one picture per feature, beside the photo (ODISE,
Fig. 1 and B.1).
"""

from __future__ import annotations

import argparse
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from odise_trt.cli import boundary
from odise_trt.drawing.legend import GROUND, Entry, draw_legend
from odise_trt.drawing.palette import category_color
from odise_trt.errors import OutputError
from odise_trt.files.output import prepare_folder, write_together
from odise_trt.preprocess import load_image

# The model is imported where it is used: a package that is not installed is told of by the command.
if TYPE_CHECKING:
    from reference.feature_maps import FeatureMap

#: What is drawn unless asked otherwise: the UNet's features, coarse to fine.
UNET_FEATURES = ("un2", "un5", "un8", "un11")
#: Longer side of one panel, and size of letters, in pixels.
_PANEL, _LETTERS = 512, 13
_GAP = 8
_BLOCKS = {"enc": "encoder", "un": "UNet", "dec": "decoder"}
#: Key of the text in a picture that says what it is, and of which photo.
_MARK = "Description"
_SEEDED = "random weights: the shapes are real, the meaning is not"


def draw_features(
    photo: np.ndarray, maps: Sequence[FeatureMap], clusters: int = 5, seed: int = 0, note: str = ""
) -> Image.Image:
    """The photo, then one panel per feature: a colour per cluster, and a legend with their shares.

    Args:
        photo: uint8 (H, W, 3).
        maps: of `feature_maps`.
        clusters: how many per feature.
        seed: of k-means.
        note: below the photo.

    Raises:
        FeatureError: as `cluster`.
    """
    from reference.feature_maps import cluster

    height, width = photo.shape[:2]
    scale = _PANEL / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    original = Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS)
    panels = [_panel(original, [], "photo", [note] if note else [], clusters)]
    for feature in maps:
        labels = cluster(feature.values, clusters, seed)
        shares = np.bincount(labels.ravel(), minlength=clusters) / labels.size
        entries = [
            Entry(f"cluster {number + 1}", category_color(number, True), 0, float(share), None)
            for number, share in enumerate(shares)
        ]
        colors = np.array([entry.color for entry in entries], dtype=np.uint8)
        drawn = Image.fromarray(feature.at(colors[labels], size[1], size[0]))
        panels.append(_panel(drawn, entries, _heading(feature), [], clusters))
    return _grid(panels)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    print(_run(_parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> Path:
    from reference.checkpoint import describe_weights, load_weights
    from reference.feature_maps import FEATURES, feature_maps

    photo = load_image(options.photo)
    output: Path = options.output or Path(f"{options.photo.stem}.features.png")
    if output.suffix.lower() != ".png":
        raise OutputError(f"{output} is no name of a PNG file", "give --output a name that ends in .png")
    prepare_folder(output.parent)
    name = options.photo.name.encode(errors="backslashreplace").decode()  # one that is not UTF-8
    mark = f"diffusion features of {name}, by odise-trt"
    keep = None if options.overwrite else _keeper(mark)
    if output.exists():
        _check_is_not_the_photo(output, options.photo)
        if keep is not None:
            keep(output)
    names = FEATURES if options.feature == "all" else tuple(options.feature.split(","))
    seeded = describe_weights(options.preset, options.weights)["seeded"]
    maps = feature_maps(load_weights(options.preset, options.weights), photo, names)
    picture = draw_features(photo, maps, options.clusters, options.seed, _SEEDED if seeded else "")
    buffer = io.BytesIO()
    said = PngInfo()
    said.add_itxt(_MARK, mark)
    picture.save(buffer, format="PNG", optimize=True, pnginfo=said)
    write_together(output.parent, {output.name: buffer.getvalue()}, keep=keep)
    return output


def _keeper(mark: str) -> Callable[[Path], None]:
    """Lets an older picture of the same photo be replaced, and nothing else."""

    def keep(path: Path) -> None:
        try:
            with Image.open(path) as picture:
                same = picture.info.get(_MARK) == mark
        except (OSError, ValueError, SyntaxError):
            same = False
        if not same:
            raise OutputError(
                f"{path} is there already, and it does not hold features of this photo",
                "give another --output, or --overwrite",
            )

    return keep


def _check_is_not_the_photo(output: Path, photo: Path) -> None:
    if output.samefile(photo):
        raise OutputError(f"{output} is the photo itself", "give another --output")


def _parser() -> argparse.ArgumentParser:
    from reference.feature_maps import FEATURES

    parser = argparse.ArgumentParser(prog="python -m reference.visualize_features", description=__doc__)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--clusters", type=int, default=5, help="groups per feature (default: 5)")
    parser.add_argument(
        "--feature",
        default=",".join(UNET_FEATURES),
        metavar="NAME[,NAME...]",
        help=f"of {', '.join(FEATURES)}, or all (default: %(default)s)",
    )
    parser.add_argument("--preset", default="demo")
    parser.add_argument(
        "--weights", default="demo", help="demo, random:SEED or a safetensors file (default: demo)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of k-means")
    parser.add_argument("--output", type=Path, help="PNG file (default: <photo>.features.png, here)")
    parser.add_argument("--overwrite", action="store_true", help="replace another file of that name")
    return parser


def _heading(feature: FeatureMap) -> str:
    letters = feature.name.rstrip("0123456789")
    return f"{feature.name}: {_BLOCKS[letters]}, stride {feature.stride}, {feature.values.shape[-1]} channels"


def _panel(
    picture: Image.Image, entries: Sequence[Entry], heading: str, notes: Sequence[str], rows: int
) -> Image.Image:
    """A picture over a legend that is as tall for every panel of `rows` entries."""
    width = max(picture.width, 20 * _LETTERS)
    columns = max(1, (width - _LETTERS) // (19 * _LETTERS))
    line = round(1.7 * _LETTERS)
    height = line * (1 + max(-(-rows // columns), 2)) + 2 * _LETTERS
    legend = draw_legend(entries, heading, notes, _LETTERS, width, height)
    panel = Image.new("RGB", (width, picture.height + height), GROUND)
    panel.paste(picture, (0, 0))
    panel.paste(legend, (0, picture.height))
    return panel


def _grid(panels: Sequence[Image.Image]) -> Image.Image:
    columns = math.ceil(math.sqrt(len(panels)))
    rows = -(-len(panels) // columns)
    width, height = panels[0].width + _GAP, panels[0].height + _GAP
    canvas = Image.new("RGB", (columns * width - _GAP, rows * height - _GAP), GROUND)
    for number, panel in enumerate(panels):
        canvas.paste(panel, (number % columns * width, number // columns * height))
    return canvas


if __name__ == "__main__":
    boundary.run(main)

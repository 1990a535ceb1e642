"""Pictures of the regions that the frozen diffusion model distinguishes (ODISE, Fig. 1 and B.1).

They show the clusters of k-means over the raw diffusion features, one panel per feature, beside the photo.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from odise_trt.drawing.legend import GROUND, Entry, draw_legend
from odise_trt.drawing.palette import category_color
from odise_trt.errors import OutputError
from odise_trt.features import Features
from odise_trt.files.output import prepare_folder
from odise_trt.files.writing import write_together
from odise_trt.pictures.encode import mark_of, marked_png

#: Longer side of one panel, and size of letters, in pixels.
_PANEL, _LETTERS = 512, 13
_GAP = 8
_PARTS = {"enc": "encoder", "un": "UNet", "dec": "decoder", "s": "projected"}
#: Key of the text in a PNG file that names the kind of picture and its photo.
_MARK = "Description"
_BEGINNING = "diffusion features of "


def draw_features(
    photo: np.ndarray,
    features: Features,
    clusters: int = 5,
    seed: int = 0,
    note: str = "",
    names: Sequence[str] | None = None,
) -> Image.Image:
    """Draw the photo, then one panel per feature: a colour per cluster, and a legend with their shares.

    Args:
        photo: uint8 (H, W, 3).
        features: the maps of the photo, from `feature_maps` or `Segmenter.features`.
        clusters: number of clusters per feature.
        seed: seed of k-means.
        note: text below the photo.
        names: the maps to draw. None: all.

    Raises:
        FeatureError: as `cluster`.
    """
    # scipy is imported where it is used, so that maps without a picture do not need it.
    from reference.features.cluster import cluster

    height, width = photo.shape[:2]
    scale = _PANEL / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    original = Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS)
    panels = [_panel(original, [], "photo", [note] if note else [], clusters)]
    for name in features.maps if names is None else names:
        labels = cluster(features.maps[name].transpose(1, 2, 0), clusters, seed)
        shares = np.bincount(labels.ravel(), minlength=clusters) / labels.size
        entries = [
            Entry(f"cluster {number + 1}", category_color(number, True), 0, float(share), None)
            for number, share in enumerate(shares)
        ]
        colors = np.array([entry.color for entry in entries], dtype=np.uint8)
        drawn = Image.fromarray(features.enlarged(name, colors[labels], size[1], size[0]))
        panels.append(_panel(drawn, entries, _heading(features, name), [], clusters))
    return _grid(panels)


def write_picture(picture: Image.Image, output: Path, photo: Path, *, overwrite: bool = False) -> None:
    """Write a picture of `draw_features` as a PNG file. `check_place` finds problems beforehand.

    Raises:
        OutputError: it cannot be written.
    """
    mark = _mark_of(photo)
    content = marked_png(picture, _MARK, mark)
    keep = None if overwrite else _keeper(mark)
    write_together(output.parent, {output.name: content}, keep=keep)


def check_place(output: Path, photo: Path, *, overwrite: bool = False) -> None:
    """Raise OutputError unless a picture of the photo can be written to `output`. Make its folder.

    Args:
        overwrite: whether another file may be replaced. The photo itself is never replaced.
    """
    if output.suffix.lower() != ".png":
        raise OutputError(f"{output} is no name of a PNG file", "give --output a name that ends in .png")
    prepare_folder(output.parent)
    if not output.exists():
        return
    if output.samefile(photo):
        raise OutputError(f"{output} is the photo itself", "give another --output")
    if not overwrite:
        _keeper(_mark_of(photo))(output)


def is_picture(path: Path) -> bool:
    """Whether a file is a picture of `write_picture`, of any photo."""
    return path.suffix.lower() == ".png" and (mark_of(path, _MARK) or "").startswith(_BEGINNING)


def _mark_of(photo: Path) -> str:
    name = photo.name.encode(errors="backslashreplace").decode()  # for a name that is not UTF-8
    return f"{_BEGINNING}{name}, by odise-trt"


def _keeper(mark: str) -> Callable[[Path], None]:
    """Return a check that allows the replacement of an older picture of the same photo only."""

    def keep(path: Path) -> None:
        if mark_of(path, _MARK) != mark:
            raise OutputError(
                f"{path} is there already, and it does not hold features of this photo",
                "give another --output, or --overwrite",
            )

    return keep


def _heading(features: Features, name: str) -> str:
    part = _PARTS[name.rstrip("0123456789")]
    return f"{name}: {part}, stride {features.strides[name]}, {len(features.maps[name])} channels"


def _panel(
    picture: Image.Image, entries: Sequence[Entry], heading: str, notes: Sequence[str], rows: int
) -> Image.Image:
    """Draw a picture above a legend. The legend has the height of `rows` entries."""
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

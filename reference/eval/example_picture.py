"""One picture of several images: each beside its truth and what the models predict, with the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from odise_trt.drawing.palette import Rgb, distinct_colors
from odise_trt.drawing.text import fit, rounded, wrap
from odise_trt.files.own_picture import OwnPicture
from reference.eval.example_maps import WORTH_DRAWING
from reference.eval.example_rows import ExampleRow, ExampleRows, SegmentMap
from reference.eval.report import Report

# Pixels: sides of a panel at most, space between panels, letters, letters of the title, a line of text.
_PANEL, _GAP, _LETTERS, _TITLE = 284, 12, 14, 18
_LINE = round(1.6 * _LETTERS)
_PAPER: Rgb = (255, 255, 255)
_INK: Rgb = (28, 30, 36)
_FAINT: Rgb = (96, 102, 112)
_NO_SEGMENT: Rgb = (236, 236, 238)
# Colours of categories are lighter than this red.
_UNMATCHED: Rgb = (214, 0, 0)
# Share of a segment's colour in its pixels; the rest is the image in grey.
_OPACITY = 0.8
# Colours of an image, and levels of grey below the segments: half the bytes, and it looks the same.
_PHOTO_COLORS, _GRAYS = 128, 16
# Key and text in a PNG file that say what it is.
OWN = OwnPicture(
    "images, truth and predictions side by side, by odise-trt", "a picture of an evaluation", "--picture"
)


def draw_examples(rows: ExampleRows, reports: Sequence[Report]) -> Image.Image:
    """Draw one row per image: the image, its truth, and the prediction of each model.

    A category has one colour in the whole picture. Segments without a match have a red outline: the wrong
    ones of a prediction, and those of the truth that every model misses.

    Args:
        rows: the images; at least one.
        reports: of the models, in the order of `rows.names`.

    Returns:
        An RGB picture on white, 900 pixels wide for one model.
    """
    columns = 2 + len(rows.names)
    width = columns * _PANEL + (columns + 1) * _GAP
    colors = _colors(rows)
    parts = [_title(rows, reports, width), _texts(["image", "truth", *rows.names], width, _INK)]
    for row in rows.rows:
        parts += [_panels(row, colors, width), _texts(_captions(row, rows.metric), width, _FAINT)]
    parts += [_legend(rows, colors, width), _notes(rows, width)]
    whole = Image.new("RGB", (width, sum(part.height for part in parts)), _PAPER)
    top = 0
    for part in parts:
        whole.paste(part, (0, top))
        top += part.height
    return whole


def _maps(row: ExampleRow) -> list[SegmentMap]:
    return [row.truth, *(one.segments for one in row.predictions)]


def _colors(rows: ExampleRows) -> dict[int, Rgb]:
    """Colours of the categories that occur, in the order of the vocabulary."""
    maps = [one for row in rows.rows for one in _maps(row)]
    seen = sorted({category for one in maps for category in one.categories.values()})
    isthing = rows.dataset.vocabulary.isthing
    return dict(zip(seen, distinct_colors([isthing[one] for one in seen]), strict=True))


def _title(rows: ExampleRows, reports: Sequence[Report], width: int) -> Image.Image:
    about = reports[0].dataset
    images = f"{about['name']}, {about['images']} of {about['of']} images"
    if len(rows.rows) < about["images"]:
        images += f", the first {len(rows.rows)} shown"
    scores = (report.metrics[rows.metric] for report in reports)
    numbers = " and ".join("-" if score is None else f"{score:.2f}" for score in scores)
    part = Image.new("RGB", (width, _GAP + 2 * _TITLE), _PAPER)
    text = fit(f"{images}: {rows.metric} {numbers}", _TITLE, width - 2 * _GAP)
    text.draw(ImageDraw.Draw(part), _GAP, part.height / 2, _INK)
    return part


def _captions(row: ExampleRow, metric: str) -> list[str]:
    count = len(row.categories)
    truth = f"{count} segment{'' if count == 1 else 's'}"
    return [f"image {row.image_id}", truth, *(one.caption(metric) for one in row.predictions)]


def _left(column: int) -> int:
    return _GAP + column * (_PANEL + _GAP)


def _texts(texts: Sequence[str], width: int, ink: Rgb) -> Image.Image:
    """One line of text per column."""
    part = Image.new("RGB", (width, _LINE + _GAP // 2), _PAPER)
    for column, text in enumerate(texts):
        fit(text, _LETTERS, _PANEL).draw(ImageDraw.Draw(part), _left(column), _LINE / 2, ink)
    return part


def _panels(row: ExampleRow, colors: Mapping[int, Rgb], width: int) -> Image.Image:
    image = Image.fromarray(row.image)
    scale = _PANEL / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    image = image.resize(size, Image.Resampling.LANCZOS)
    shown = image.quantize(_PHOTO_COLORS, kmeans=2, dither=Image.Dither.NONE)
    part = Image.new("RGB", (width, size[1]), _PAPER)
    for column, panel in enumerate([shown, *(_drawn(image, one, colors) for one in _maps(row))]):
        part.paste(panel, (_left(column), 0))
    return part


def _drawn(image: Image.Image, segments: SegmentMap, colors: Mapping[int, Rgb]) -> Image.Image:
    """Segments in their colours on the image in grey.

    Args:
        image: as it is shown.
        segments: of any size.
        colors: of the categories.
    """
    step = 256 // _GRAYS
    gray = np.asarray(image.convert("L"), np.float32)[..., None] // step * step
    # Nearest neighbour: ids cannot be averaged.
    rows, columns = (
        ((np.arange(shown) + 0.5) * whole / shown).astype(np.intp)
        for shown, whole in zip(gray.shape[:2], segments.ids.shape, strict=True)
    )
    ids, index = np.unique(segments.ids[np.ix_(rows, columns)], return_inverse=True)
    index = index.reshape(gray.shape[:2])
    numbers = ids.tolist()
    table = np.array([colors[segments.categories[n]] if n else _NO_SEGMENT for n in numbers], np.float32)
    out = table[index] * _OPACITY + gray * (1 - _OPACITY)
    border = _border(index)
    out[border] = _PAPER
    unmatched = np.array([number in segments.unmatched for number in numbers])[index]
    out[unmatched & _widened(border, 5)] = _UNMATCHED
    return Image.fromarray(np.round(out).astype(np.uint8))


def _border(index: np.ndarray) -> np.ndarray:
    """bool (H, W): pixels whose neighbour below or on the right belongs to another segment."""
    border = np.zeros(index.shape, bool)
    border[:, :-1] |= index[:, 1:] != index[:, :-1]
    border[:-1] |= index[1:] != index[:-1]
    return border


def _widened(mask: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(mask.astype(np.uint8)).filter(ImageFilter.MaxFilter(size))) > 0


def _legend(rows: ExampleRows, colors: Mapping[int, Rgb], width: int) -> Image.Image:
    """The colours and names of the categories, in lines from left to right."""
    names = rows.dataset.vocabulary.names
    entries = [(color, names[category]) for category, color in colors.items()]
    if any((one.ids == 0).any() for row in rows.rows for one in _maps(row)):
        entries.append((_NO_SEGMENT, "no segment"))
    indent = round(1.6 * _LETTERS)
    texts = [fit(name, _LETTERS, _PANEL - indent) for _, name in entries]
    places, x, y = [], _GAP, _GAP
    for text in texts:
        if x + indent + text.width > width - _GAP:
            x, y = _GAP, y + _LINE
        places.append((x, y))
        x += indent + text.width + 2 * _GAP
    part = Image.new("RGB", (width, y + _LINE), _PAPER)
    swatch = rounded((_LETTERS, _LETTERS), 3)
    for (color, _), text, (left, top) in zip(entries, texts, places, strict=True):
        part.paste(color, (left, top + (_LINE - _LETTERS) // 2), swatch)
        text.draw(ImageDraw.Draw(part), left + indent, top + _LINE / 2, _INK)
    return part


def _notes(rows: ExampleRows, width: int) -> Image.Image:
    metric, missed = (
        rows.metric,
        "one that is missed" if len(rows.names) == 1 else "one that every model misses",
    )
    notes = [
        (
            f"The {metric} below a prediction is of that image alone. The {metric} in the title is of all "
            "images together, and not the mean of those."
        ),
        (
            f"Red outline: a wrong segment of a prediction; in the truth, {missed}. A segment is found if a "
            "predicted one of its category overlaps it by more than one half (intersection over union)."
        ),
    ]
    if rows.task == "semantic":
        notes.append("A segment is all pixels of one category.")
    if rows.task == "instance":
        notes.append(
            f"Objects that score less than {WORTH_DRAWING} times the best of their image are not drawn."
        )
    lines = [line for note in notes for line in wrap(note, _LETTERS, width - 2 * _GAP)]
    part = Image.new("RGB", (width, _LINE * len(lines) + 2 * _GAP), _PAPER)
    for number, line in enumerate(lines):
        fit(line, _LETTERS).draw(ImageDraw.Draw(part), _GAP, _GAP + (number + 0.5) * _LINE, _FAINT)
    return part

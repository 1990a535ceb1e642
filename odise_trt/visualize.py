"""Draws the picture of a result: the image with coloured and named segments, and a legend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .drawing.anchors import Rectangle, find_places, free_spot
from .drawing.legend import GROUND, Entry, draw_legend
from .drawing.palette import Rgb, category_color, tone
from .drawing.text import Text, fit, rounded
from .segments import Instance, SegmentedImage

# Small pictures are enlarged to this longer side, so that names can be read.
_MIN_SIDE = 640
_THING_OPACITY, _STUFF_OPACITY = 0.55, 0.45
# Instance results list the hundred best pairs of mask and category, however low their scores. Those that
# score less than this share of the best are not drawn, since they would hide the picture. The files have all.
_WORTH_SHOWING = 0.35


@dataclass(frozen=True)
class _Region:
    """A region to draw: one segment (panoptic), category (semantic) or object (instance)."""

    number: int
    category_id: int
    name: str
    isthing: bool
    score: float | None
    area: int
    color: Rgb


def draw_overlay(result: SegmentedImage, max_side: int = 2048) -> Image.Image:
    """Draw a result over its image.

    Colours belong to categories and are the same in every picture of a vocabulary. Objects of one category
    have shades of its colour. Things are outlined one by one. Objects and stuff are named where they are
    broadest. A name without a free spot is only in the legend. In instance results, objects that score less
    than about a third of the best are omitted.

    Args:
        result: a result of any task.
        max_side: larger pictures (without legend) are shrunk to this longer side. Small ones are enlarged to
            640.

    Returns:
        An RGB picture: the image, and beside or below it the legend.
    """
    ids, regions, hidden = _regions(result)
    height, width = _display_size(result.image.shape[0], result.image.shape[1], max_side)
    photo = _resized(result.image, width, height)
    ids = _sampled(ids, height, width)
    size = max(12, round(0.021 * max(height, width)))
    picture = Image.fromarray(_colored(np.asarray(photo), ids, regions, max(1, round(size / 9))))
    _draw_names(picture, ids, regions, size, height * width / result.image[..., 0].size)
    return _with_legend(picture, result, regions, hidden, size)


def _regions(result: SegmentedImage) -> tuple[np.ndarray, list[_Region], int]:
    """Return the map to draw, its regions (the largest first), and the number of omitted objects."""
    shades: dict[int, int] = {}

    def color(category_id: int, isthing: bool) -> Rgb:
        shade = shades.get(category_id, -1) + 1 if isthing else 0
        shades[category_id] = shade
        return category_color(category_id, isthing, shade)

    hidden = 0
    if result.instances is not None:
        shown = _worth_showing(result.instances)
        hidden = len(result.instances) - len(shown)
        ids = SegmentedImage(result.image, result.vocabulary, instances=shown).id_map()
        regions = [
            _Region(n, one.category_id, one.name, True, one.score, one.area, color(one.category_id, True))
            for n, one in enumerate(shown, 1)
        ]
    elif result.semantic is not None:
        ids = result.id_map()
        areas = np.bincount(ids.ravel())
        names, flags = result.vocabulary.names, result.vocabulary.isthing
        # A category is one region without outlines, since its objects are not separated.
        regions = [
            _Region(n, n - 1, names[n - 1], False, None, int(areas[n]), category_color(n - 1, flags[n - 1]))
            for n in np.flatnonzero(areas).tolist()
            if n
        ]
    else:
        ids = result.id_map()
        regions = [
            _Region(s.id, s.category_id, s.name, s.isthing, s.score, s.area, color(s.category_id, s.isthing))
            for s in result.segments
        ]
    return ids, sorted(regions, key=lambda region: -region.area), hidden


def _worth_showing(instances: Sequence[Instance]) -> list[Instance]:
    least = _WORTH_SHOWING * max((instance.score for instance in instances), default=0.0)
    return [instance for instance in instances if instance.score >= least]


def _display_size(height: int, width: int, max_side: int) -> tuple[int, int]:
    longer = max(height, width)
    scale = max_side / longer if longer > max_side else max(1.0, min(_MIN_SIDE, max_side) / longer)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _resized(image: np.ndarray, width: int, height: int) -> Image.Image:
    picture = Image.fromarray(image)
    if picture.size == (width, height):
        return picture
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def _sampled(ids: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize by nearest neighbour, since ids cannot be averaged."""
    rows = (np.arange(height) + 0.5) * ids.shape[0] / height
    columns = (np.arange(width) + 0.5) * ids.shape[1] / width
    return ids[np.ix_(rows.astype(np.intp), columns.astype(np.intp))]


def _colored(photo: np.ndarray, ids: np.ndarray, regions: Sequence[_Region], line: int) -> np.ndarray:
    """Lay translucent colours over the photo, and light outlines around things.

    Args:
        photo: uint8 (H, W, 3).
        ids: int (H, W).
        line: width of outlines in pixels.
    """
    top = max([0, int(ids.max(initial=0)), *(region.number for region in regions)]) + 1

    def table(value: Callable[[_Region], Rgb | float], width: int) -> np.ndarray:
        rows = np.zeros((top, width), dtype=np.float32)
        for region in regions:
            rows[region.number] = value(region)
        return rows[ids]

    opacity = table(lambda region: _THING_OPACITY if region.isthing else _STUFF_OPACITY, 1)
    # A colour over its complement gives grey. So the photo under a colour loses most of its own colour.
    gray = photo @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    out = photo + (gray[..., None] - photo) * (0.55 * (opacity > 0))
    out = out * (1 - opacity) + table(lambda region: region.color, 3) * opacity
    isthing = table(lambda region: float(region.isthing), 1)
    edge = _edges(ids, line)[..., None]
    # A light line inside the object, and a faint shadow outside of it and between stuff: this is visible on
    # any background.
    out = out * (1 - edge * (1 - isthing) * 0.35)
    out = out + (table(lambda region: tone(region.color, 0.93), 3) - out) * (edge * isthing * 0.95)
    return np.clip(np.round(out), 0, 255).astype(np.uint8)


def _edges(ids: np.ndarray, line: int) -> np.ndarray:
    """Return float32 (H, W): 1 at borders between ids, falling smoothly to 0 within `line` pixels."""
    border = np.zeros(ids.shape, dtype=bool)
    across, down = ids[:, 1:] != ids[:, :-1], ids[1:] != ids[:-1]
    border[:, 1:] |= across
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    mask = Image.fromarray(border.astype(np.uint8) * 255)
    if line > 2:
        mask = mask.filter(ImageFilter.MaxFilter(2 * ((line - 1) // 2) + 1))
    soft = mask.filter(ImageFilter.GaussianBlur(0.45 * min(line, 2)))
    return np.minimum(np.asarray(soft, dtype=np.float32) / 255 * 1.3, 1.0)


def _draw_names(
    picture: Image.Image, ids: np.ndarray, regions: Sequence[_Region], size: int, scale: float
) -> None:
    """Draw names on the picture. `scale`: pixels of the picture per pixel of the result."""
    places = find_places(ids, [region.number for region in regions])
    # Small regions come first, since they have the fewest free spots. Regions that cannot hold their name
    # come last, so that they take no room from others.
    roomy = {number: found[0].depth >= 0.6 * size for number, found in places.items()}
    visible = [region for region in regions if region.number in places]
    order = sorted(
        visible,
        key=lambda r: (not roomy[r.number], r.area if roomy[r.number] else -r.area),
    )
    taken: list[Rectangle] = []
    for region in order:
        letters = size if roomy[region.number] else max(11, round(0.8 * size))
        text = fit(region.name, letters, max(0.3 * picture.width, 5 * letters))
        score = None if region.score is None else fit(f"{region.score:.2f}", letters)
        inner = text.width + (0 if score is None else score.width + round(0.4 * letters))
        box = (inner + letters, round(1.5 * letters))
        # A name as large as its segment would hide it, so it goes above or below.
        beside = not roomy[region.number] and region.area * scale < 3 * box[0] * box[1]
        spot = free_spot(places[region.number], box, picture.size, taken, beside)
        if spot is not None:
            taken.append(spot)
            _draw_name(picture, spot, region.color, text, score)


def _draw_name(picture: Image.Image, spot: Rectangle, color: Rgb, text: Text, score: Text | None) -> None:
    ground, ink, faint = tone(color, 0.24), (255, 255, 255), tone(color, 0.85)
    shape = rounded((spot.width, spot.height), spot.height * 0.35).point(lambda value: value * 88 // 100)
    picture.paste(ground, (spot.x, spot.y), shape)
    draw = ImageDraw.Draw(picture)
    margin = spot.height / 3
    middle = spot.y + spot.height / 2
    text.draw(draw, spot.x + margin, middle, ink)
    if score is not None:
        score.draw(draw, spot.x + spot.width - margin - score.width, middle, faint)


def _with_legend(
    picture: Image.Image, result: SegmentedImage, regions: Sequence[_Region], hidden: int, size: int
) -> Image.Image:
    entries = _entries(result, regions)
    notes = []
    if result.provenance.get("seeded"):
        notes.append("random weights: the shapes are real, the meaning is not")
    if hidden:
        notes.append(f"{hidden} objects of low score are not drawn")
    heading = _heading(result, regions)
    if picture.height > 0.9 * picture.width:
        panel = draw_legend(entries, heading, notes, size, size * 20, max(picture.height, size * 12))
        corner, canvas = (picture.width, 0), (picture.width + panel.width, max(picture.height, panel.height))
    else:
        panel = draw_legend(entries, heading, notes, size, max(picture.width, size * 20), None)
        corner, canvas = (0, picture.height), (max(picture.width, panel.width), picture.height + panel.height)
    whole = Image.new("RGB", canvas, GROUND)
    whole.paste(picture, (0, 0))
    whole.paste(panel, corner)
    return whole


def _heading(result: SegmentedImage, regions: Sequence[_Region]) -> str:
    one, many = {
        "panoptic": ("segment", "segments"),
        "semantic": ("category", "categories"),
        "instance": ("object", "objects"),
    }[result.task]
    parts = [result.task, f"{len(regions)} {one if len(regions) == 1 else many}"]
    if "preset" in result.provenance:
        parts.append(str(result.provenance["preset"]))
    return ", ".join(parts)


def _entries(result: SegmentedImage, regions: Sequence[_Region]) -> list[Entry]:
    """Return one legend entry per category, the largest first."""
    pixels = result.image.shape[0] * result.image.shape[1]
    by_category: dict[int, list[_Region]] = {}
    for region in regions:
        by_category.setdefault(region.category_id, []).append(region)
    entries = [
        Entry(
            name=members[0].name,
            color=category_color(number, result.vocabulary[number].isthing),
            count=len(members) if members[0].isthing else 0,
            share=sum(member.area for member in members) / pixels,
            score=max((m.score for m in members if m.score is not None), default=None),
        )
        for number, members in by_category.items()
    ]
    return sorted(entries, key=lambda entry: -entry.share)

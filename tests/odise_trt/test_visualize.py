"""The overlay: any size, any script, names inside their segments and apart from each other."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageDraw

from odise_trt.drawing.anchors import Rectangle, border_distance, find_places, free_spot
from odise_trt.drawing.legend import Entry, draw_legend, percentage
from odise_trt.drawing.palette import category_color, tone
from odise_trt.drawing.text import fit, wrap
from odise_trt.result import Result
from odise_trt.segments import Instance, Segment
from odise_trt.visualize import draw_overlay
from odise_trt.vocabulary import Category, Vocabulary

VOCABULARY = Vocabulary((Category(("sky",), False), Category(("purse",)), Category(("wall",), False)))


def panoptic(height: int, width: int, ids: np.ndarray, **fields: object) -> Result:
    """Sky (1, 4, 7...), purses (2, 5...) and walls (3, 6...) on a gray image."""
    segments = []
    for number in np.unique(ids[ids > 0]).tolist():
        category = (number - 1) % len(VOCABULARY)
        name, isthing = VOCABULARY.names[category], VOCABULARY.isthing[category]
        area = int((ids == number).sum())
        segments.append(Segment(number, category, name, isthing, 0.5, area, (0, 0, 1, 1)))
    image = np.full((height, width, 3), 120, np.uint8)
    return replace(Result(image, VOCABULARY, panoptic=ids.astype(np.int32), segments=segments), **fields)


def halves(height: int, width: int) -> np.ndarray:
    ids = np.ones((height, width), np.int32)
    ids[:, width // 2 :] = 2
    return ids


@pytest.mark.parametrize(
    ("height", "width", "shown"),
    [
        (64, 64, (640, 640)),
        (48, 64, (480, 640)),
        (700, 1, (700, 1)),
        (1, 1, (640, 640)),
        (3000, 6000, (1024, 2048)),
    ],
)
def test_pictures_of_any_size_are_brought_to_one_where_names_can_be_read(
    height: int, width: int, shown: tuple[int, int]
) -> None:
    overlay = draw_overlay(panoptic(height, width, halves(height, width)))
    assert overlay.height >= shown[0]
    assert overlay.width >= shown[1]
    # The legend lies beside a tall picture, below a wide one: one of the two sides is the picture's.
    assert overlay.height == shown[0] or overlay.width == max(shown[1], 20 * round(0.021 * max(shown)))


def test_an_image_without_segments_is_shown_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (480, 700, 3)).astype(np.uint8)
    overlay = draw_overlay(Result(image, VOCABULARY, panoptic=np.zeros((480, 700), np.int32)))
    assert np.array_equal(np.asarray(overlay)[:480, :700], image)


def test_two_categories_have_two_colours_and_pixels_of_neither_keep_theirs() -> None:
    ids = halves(640, 900)
    ids[:, 300:600] = 0
    shown = np.asarray(draw_overlay(panoptic(640, 900, ids))).astype(int)
    left, middle, right = shown[600, 100], shown[600, 450], shown[600, 850]
    assert middle.tolist() == [120, 120, 120]
    assert abs(left - right).max() > 30
    assert abs(left - middle).max() > 20


def test_the_colour_of_a_category_does_not_depend_on_what_else_is_found() -> None:
    ids = halves(640, 900)
    alone = np.asarray(draw_overlay(panoptic(640, 900, np.where(ids == 2, 2, 0))))
    both = np.asarray(draw_overlay(panoptic(640, 900, ids)))
    assert alone[600, 850].tolist() == both[600, 850].tolist()


def test_objects_of_one_category_differ_and_are_outlined_lighter_than_they_are() -> None:
    ids = np.full((640, 900), 2)
    ids[:, 450:] = 5
    shown = np.asarray(draw_overlay(panoptic(640, 900, ids))).astype(int)
    assert abs(shown[600, 100] - shown[600, 800]).max() > 10
    assert shown[600, 447:453].sum(axis=-1).max() > max(shown[600, 100].sum(), shown[600, 800].sum()) + 100


def test_stuff_has_no_light_outline() -> None:
    ids = np.ones((640, 900), np.int32)
    ids[:, 450:] = 3
    shown = np.asarray(draw_overlay(panoptic(640, 900, ids))).astype(int)
    assert shown[600, 440:460].sum(axis=-1).max() <= max(shown[600, 100].sum(), shown[600, 800].sum()) + 3


def test_semantic_and_instance_results_are_drawn_too() -> None:
    image = np.full((640, 900, 3), 120, np.uint8)
    semantic = draw_overlay(Result(image, VOCABULARY, semantic=halves(640, 900) - 2))
    shown = np.asarray(semantic)
    assert shown[600, 100].tolist() == [120, 120, 120]  # -1: no category
    assert shown[600, 850].tolist() != [120, 120, 120]

    masks = np.zeros((2, 640, 900), bool)
    masks[0, :, :300], masks[1, :, 600:] = True, True
    good, poor = (
        Instance(1, "purse", score, mask, int(mask.sum()), (0, 0, 1, 1))
        for score, mask in zip((0.8, 0.1), masks, strict=True)
    )
    shown = np.asarray(draw_overlay(Result(image, VOCABULARY, instances=[good, poor])))
    assert shown[600, 100].tolist() != [120, 120, 120]
    assert shown[600, 850].tolist() == [120, 120, 120]  # less than a third of the best


def test_seeded_weights_are_named_in_the_picture() -> None:
    ids = halves(480, 640)
    plain = draw_overlay(panoptic(480, 640, ids))
    warned = draw_overlay(panoptic(480, 640, ids, provenance={"seeded": True}))
    assert warned.height > plain.height
    assert np.asarray(warned)[plain.height :].max() > 100


@given(arrays.arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 2)))
def test_the_distance_to_the_border_is_the_euclidean_one(ids: np.ndarray) -> None:
    padded = np.pad(ids, 1, constant_values=-1)
    cells = np.argwhere(np.ones(padded.shape, bool))
    for y, x in np.ndindex(*ids.shape):
        others = cells[padded.ravel() != ids[y, x]]
        expected = np.sqrt(((others - (y + 1, x + 1)) ** 2).sum(axis=1).min())
        assert border_distance(ids)[y, x] == pytest.approx(expected, rel=1e-6)


@given(st.integers(0, 10_000))
def test_every_place_for_a_name_lies_in_its_segment(seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.random((12, 2)) * (90, 140)
    cells = np.stack(np.mgrid[:90, :140], axis=-1)[:, :, None]
    ids = ((cells - centres) ** 2).sum(axis=-1).argmin(axis=-1) + 1
    ids[44, 70] = 99  # a segment of one pixel
    places = find_places(ids, [*range(1, 13), 99])
    assert set(places) == set(np.unique(ids).tolist())
    for number, found in places.items():
        assert all(ids[int(place.y), int(place.x)] == number for place in found)
        assert found[0].depth == max(place.depth for place in found)


def test_a_name_goes_to_the_broadest_part_of_its_segment() -> None:
    ids = np.zeros((200, 200), np.int32)
    ids[95:105, :] = 1
    ids[60:140, 130:190] = 1
    best = find_places(ids, [1])[1][0]
    assert 140 <= best.x <= 180
    assert 85 <= best.y <= 115


@given(st.integers(0, 10_000))
def test_names_do_not_lie_on_each_other_nor_leave_the_picture(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 30, (12, 16)).repeat(10, axis=0).repeat(10, axis=1)
    taken: list[Rectangle] = []
    for places in find_places(ids, list(range(1, 30))).values():
        spot = free_spot(places, (int(rng.integers(10, 60)), 12), (160, 120), taken, bool(rng.integers(2)))
        if spot is not None:
            taken.append(spot)
    assert taken
    assert not any(one.overlaps(other) for one, other in itertools.combinations(taken, 2))
    assert all(s.x >= 0 and s.x + s.width <= 160 and s.y >= 0 and s.y + s.height <= 120 for s in taken)


def test_neighbours_in_a_vocabulary_have_distinct_colours() -> None:
    colors = [np.array(category_color(number, isthing=True)) for number in range(8)]
    assert min(abs(a - b).sum() for a, b in itertools.combinations(colors, 2)) > 40


def test_names_can_be_read_on_the_brightest_photo() -> None:
    for number in range(40):
        color = category_color(number, isthing=bool(number % 2))
        # The ground of a name lets 12 % of the photo through. Contrast by WCAG 2: at least 4.5.
        ground = [(0.88 * value + 0.12 * 255) / 255 for value in tone(color, 0.24)]
        linear = [value / 12.92 if value < 0.04 else ((value + 0.055) / 1.055) ** 2.4 for value in ground]
        luminance = float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
        assert 1.05 / (luminance + 0.05) > 4.5


def test_a_legend_says_how_many_lines_it_leaves_out() -> None:
    entries = [Entry(f"category {n}", (200, 80, 80), 1, 0.01, 0.5) for n in range(200)]
    few = draw_legend(entries[:3], "panoptic", [], 14, 640, None)
    many = draw_legend(entries, "panoptic", [], 14, 640, None)
    assert few.height < many.height <= 640 // 2
    fixed = draw_legend(entries, "panoptic", ["a note"], 14, 280, 500)
    assert fixed.size == (280, 500)


def test_shares_are_given_with_the_digits_that_count() -> None:
    assert [percentage(share) for share in (0.5, 0.123, 0.0999, 0.0123, 0.0001, 0.0)] == [
        "50 %", "12 %", "10 %", "1.2 %", "< 0.1 %", "0 %",
    ]  # fmt: skip


def test_long_names_are_cut_and_names_of_any_script_are_drawn() -> None:
    long = fit("a wall with a very long name", 16, 90)
    assert long.text.endswith("...")
    assert long.width <= 91
    for name in ("猫", "café crème", "дерево", "שולחן", "🐱", "two\nlines", "\u202eodd"):
        sheet = Image.new("L", (300, 40))
        fit(name, 16).draw(ImageDraw.Draw(sheet), 4, 20, (255,))
        assert sheet.getbbox() is not None
    assert wrap("one two three", 16, fit("one two", 16).width) == ["one two", "three"]


def test_a_font_is_opened_once_however_many_names_are_drawn() -> None:
    # A folder of 200 pictures took 200 MB more than one of 20 while each name had a font of its own.
    draw = ImageDraw.Draw(Image.new("L", (300, 40)))
    first = fit("purse", 16)
    for name in ("table", "wall", "чашка"):
        text = fit(name, 16)
        text.draw(draw, 4, 20, (255,))
        assert text.font is first.font or not name.isascii()


def test_without_a_font_for_it_an_accent_is_left_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odise_trt.drawing.text._SYSTEM", ())
    assert fit("café", 16).text == "cafe"

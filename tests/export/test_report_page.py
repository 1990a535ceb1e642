"""The page of comparisons is one file, small, and shows where an output differs."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from export.report import Exhibit, Exhibits, write_report
from export.report.figures import MOST_BYTES
from export.report.histogram import histogram
from export.report.maps import Panel, is_map
from export.report.scene import matched
from odise_trt.bundle.manifest import Parity
from odise_trt.stage_spec import Tensor

MAP = Tensor("s2", "float32", ("windows", 3, "side/4", "side/4"))
IDS = Tensor("code", "uint8", ("rows", "output_width"))
VECTOR = Tensor("mask_embed", "float32", (1, "queries", 256))


def row(stage: str = "features", tensor: str = "s2", distance: float = 1e-6, side: int = 32) -> Parity:
    return Parity(stage, tensor, "onnx", {"side": side}, distance, 1e-3, 1e-4)


def numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def exhibit_of(
    found: np.ndarray, expected: np.ndarray, tensor: Tensor = MAP, undecided: np.ndarray | None = None
) -> Exhibit:
    exhibits = Exhibits()
    exhibits.look(row(tensor=tensor.name), tensor, found, expected, undecided)
    (exhibit,) = exhibits.all()
    return exhibit


def pixels(panel: Panel) -> np.ndarray:
    with Image.open(io.BytesIO(panel.png)) as picture:
        return np.asarray(picture.convert("RGB"))


class Parsed(HTMLParser):
    """What a browser would load, and the elements of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.loaded: list[str] = []
        self.sections: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: Iterable[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "action", "xlink:href"):
                self.loaded.append(value or "")
            if tag == "section" and name == "id":
                self.sections.append(value or "")

    def handle_startendtag(self, tag: str, attrs: Iterable[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    exhibits = Exhibits()
    expected, codes = numbers(0, 2, 3, 32, 32), np.zeros((30, 50), np.uint8)
    exhibits.look(row(), MAP, expected + np.float32(1e-4), expected, None)
    exhibits.look(row("mask_head", "mask_embed"), VECTOR, numbers(1, 1, 8, 256), numbers(2, 1, 8, 256), None)
    exhibits.look(row("panoptic", "code"), IDS, codes, codes, None)
    rows = [row(), row("mask_head", "mask_embed"), row("panoptic", "code"), row("<old>", "kept")]
    file = tmp_path_factory.mktemp("page") / "parity.html"
    scene = (Panel("a drawn <scene>", base64.b64decode(BLACK)),)
    write_report(file, rows, "demo & more", exhibits.all(), scene)
    return file.read_text()


#: A PNG of one black pixel.
BLACK = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="


def test_every_stage_with_pictures_has_a_section_and_the_others_a_line(page: str) -> None:
    parsed = Parsed(page)
    assert parsed.open == []
    assert parsed.sections == ["scene", "features", "mask_head", "panoptic"]
    # A scene, a map of numbers with the error of all planes, and a map of ids.
    assert parsed.seen.count("img") == 1 + 4 + 3
    assert parsed.seen.count("svg") == 2
    assert "&lt;old&gt;: kept from an earlier build" in page
    assert 'alt="a drawn &lt;scene&gt;"' in page


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    parsed = Parsed(page)
    assert parsed.loaded != []
    assert all(source.startswith("data:image/png;base64,") for source in parsed.loaded)
    assert not {"script", "link", "iframe", "object", "base"} & set(parsed.seen)
    assert re.search(r"https?:|@import|url\(", page) is None


def test_every_picture_opens_and_is_small(page: str) -> None:
    for source in Parsed(page).loaded:
        with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as picture:
            picture.load()
            assert max(picture.size) <= 128


def test_the_histograms_are_well_formed(page: str) -> None:
    for text in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(text)


def test_a_page_of_many_large_maps_stays_below_three_megabytes(tmp_path: Path) -> None:
    noise = exhibit_of(numbers(0, 1, 3, 300, 400), numbers(1, 1, 3, 300, 400))
    assert max(pixels(noise.panels[0]).shape) <= 128
    count = 2 * MOST_BYTES // sum(len(panel.png) for panel in noise.panels)
    many = [Exhibit(row("features", f"s{n}"), "", noise.panels, noise.errors) for n in range(count)]
    write_report(tmp_path / "parity.html", [one.row for one in many], "many", many)
    page = (tmp_path / "parity.html").read_text()
    assert MOST_BYTES * 0.9 < len(page) < 3_000_000
    assert page.count("left out: the page would become too large") > count // 4


def test_an_error_in_one_pixel_of_one_plane_is_seen_even_in_a_large_map() -> None:
    expected = numbers(0, 2, 3, 300, 400)
    found = expected.copy()
    found[1, 2, 17, 399] += 5
    exhibit = exhibit_of(found, expected)
    assert exhibit.place == "[1, 2] of (2, 3)"
    error = pixels(exhibit.panels[2])
    # 400 pixels in 128 are blocks of 4.
    assert error.shape == (75, 100, 3)
    assert {tuple(at) for at in np.argwhere((error != error[0, 0]).any(-1))} == {(4, 99)}


def test_what_is_not_finite_is_magenta_in_the_picture_and_counted() -> None:
    expected = numbers(0, 1, 3, 16, 16)
    found = expected.copy()
    found[0, 1, 2, 3], found[0, 1, 4, 5] = math.nan, math.inf
    exhibit = exhibit_of(found, expected)
    for panel in exhibit.panels[1:]:
        magenta = (pixels(panel) == (255, 0, 200)).all(-1)
        assert {tuple(at) for at in np.argwhere(magenta)} == {(2, 3), (4, 5)}
    assert exhibit.errors is not None
    assert exhibit.errors.not_finite == 2


def test_values_of_both_signs_have_zero_in_the_middle_of_their_colours() -> None:
    values = np.array([[[[-1.0, 0.0, 2.0]]]], np.float32)
    left, middle, right = pixels(exhibit_of(values, values).panels[0])[0]
    assert (middle >= 240).all()
    assert left[2] > left[0]
    assert right[0] > right[2]


def test_ids_that_differ_are_red_and_yellow_where_rounding_decides() -> None:
    expected = np.zeros((4, 6), np.uint8)
    found, undecided = expected.copy(), np.zeros((4, 6), bool)
    found[1, 1] = found[2, 3] = 7
    undecided[2, 3] = undecided[0, 0] = True
    exhibit = exhibit_of(found, expected, IDS, undecided)
    drawn = pixels(exhibit.panels[2])
    assert tuple(drawn[1, 1]) == (200, 30, 40)
    assert tuple(drawn[2, 3]) == (240, 170, 40)
    assert tuple(drawn[0, 0]) == tuple(drawn[3, 5])
    assert exhibit.panels[2].caption.startswith("1 differ (red), 1 where rounding decides")
    assert (pixels(exhibit.panels[0])[1, 1] != pixels(exhibit.panels[1])[1, 1]).any()


def test_the_largest_map_is_drawn_unless_a_comparison_missed() -> None:
    exhibits = Exhibits()
    small, large = numbers(0, 1, 3, 8, 8), numbers(1, 1, 3, 32, 32)
    for distance, side, values in ((5e-5, 8, small), (1e-6, 32, large), (2e-6, 32, large), (9e-5, 8, small)):
        exhibits.look(row(distance=distance, side=side), MAP, values, values, None)
    assert exhibits.all()[0].row == row(distance=2e-6, side=32)
    exhibits.look(row(distance=2e-3, side=8), MAP, small, small, None)
    exhibits.look(row(distance=1e-3, side=32), MAP, large, large, None)
    assert exhibits.all()[0].row == row(distance=2e-3, side=8)


@pytest.mark.parametrize(
    ("shape", "drawn"),
    [
        (("windows", 3, "side/4", "side/4"), True),
        (("rows", "output_width"), True),
        ((1, 100, 256), False),
        (("windows", 77, 768), False),
        (("texts",), False),
    ],
)
def test_a_map_has_two_sides_that_depend_on_the_picture(shape: tuple[int | str, ...], drawn: bool) -> None:
    assert is_map(shape) == drawn


def test_errors_are_counted_by_size_relative_to_the_typical_value() -> None:
    expected = np.full(4, 10.0)
    # 2e-3, 2e-5 and 1e3 of the typical value 10, and none.
    found = expected + np.array([2e-2, 2e-4, 1e4, 0.0])
    counted = histogram(found, expected, 10.0)
    # Half decades from 1e-10: 2e-3 is 2 * 7.3, 2e-5 is 2 * 5.3. The last one has what is larger.
    assert {place: count for place, count in enumerate(counted.counts) if count} == {14: 1, 10: 1, 21: 1}
    assert (counted.equal, counted.not_finite, counted.step) == (1, 0, 1)


def test_a_segment_more_does_not_renumber_the_others() -> None:
    wanted = np.array([[1, 1, 2, 2], [1, 1, 2, 0]])
    # Segment 1 here is new, and the old ones have become 2 and 3.
    found = np.array([[2, 2, 3, 1], [2, 2, 3, 0]])
    same = matched(found, {1: 9, 2: 5, 3: 6}, wanted, {1: 5, 2: 6})
    assert same.tolist() == [[1, 1, 2, 3], [1, 1, 2, 0]]


def test_a_segment_of_another_category_is_another_segment() -> None:
    wanted = np.array([[1, 1]])
    assert matched(wanted, {1: 4}, wanted, {1: 5}).tolist() == [[2, 2]]

"""A drawn picture replaces an older one of its kind, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from odise_trt.errors import OutputError
from odise_trt.files.own_picture import OwnPicture

OWN = OwnPicture("bars, by a test", "a picture of bars", "--bars")
BARS = Image.new("RGB", (4, 3), (200, 30, 30))


def test_an_older_picture_of_the_kind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "bars.png"
    OWN.check_place(path)
    OWN.write(Image.new("RGB", (2, 2)), path)
    OWN.check_place(path)
    OWN.write(BARS, path)
    with Image.open(path) as written:
        assert written.size == BARS.size


@pytest.mark.parametrize("other", [OwnPicture("lines", "a picture of lines", "--lines"), None])
def test_a_picture_of_another_kind_is_kept(tmp_path: Path, other: OwnPicture | None) -> None:
    path = tmp_path / "mine.png"
    if other:
        other.write(BARS, path)
    else:
        BARS.save(path)
    before = path.read_bytes()
    for attempt in (lambda: OWN.check_place(path), lambda: OWN.write(BARS, path)):
        with pytest.raises(OutputError, match="is not a picture of bars") as raised:
            attempt()
        assert raised.value.hint == "give another --bars, or move it away"
    assert path.read_bytes() == before


def test_a_file_that_is_no_picture_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.png"
    path.write_text("mine")
    with pytest.raises(OutputError, match="is not a picture of bars"):
        OWN.check_place(path)
    assert path.read_text() == "mine"


def test_the_name_has_to_end_in_png(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not the name of a PNG file") as raised:
        OWN.check_place(tmp_path / "bars.jpg")
    assert raised.value.hint == "give --bars a name that ends in .png"

"""Tables, pictures and the README say what the record says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.contest.statistics import spread, summary
from benchmarks.pictures import chart, growth, memory, waterfall
from benchmarks.readme import PAGE, RECORD, PageError, read_record, table, update, with_table
from benchmarks.report import tables
from benchmarks.texts import milliseconds, number
from odise_trt.errors import OutputError


def row(name: str, seconds: float, backend: str) -> dict[str, Any]:
    stages = {
        "features": seconds / 2,
        "panoptic": seconds / 8,
        "semantic": seconds / 8,
        "instance": 0.0,
        "encode": 0.1,
    }
    sample = {"stages": stages, "seconds": seconds, "cpu_seconds": 2 * seconds, "foreign": 0.0}
    sample |= {"total_seconds": seconds + 0.1, "total_cpu_seconds": 2 * seconds + 0.1}
    found = {"name": name, "technique": name, "backend": backend, "precision": "fp32"} | summary([sample])
    found |= {"compared_with": "official", "panoptic_agreement": 0.9987, "masks_relative_l2": 4.2e-7}
    return found | {"peak_bytes": 1.25e9, "joules": {"not_measured": "no GPU"}, "streaming_fps": 2.0}


@pytest.fixture
def record() -> dict[str, Any]:
    failed = {
        "name": "bad",
        "technique": "bad",
        "backend": "torch",
        "precision": "bf16",
        "not_run": "no compiler",
    }
    measured = summary(
        [
            {
                "stages": {"semantic": 0.1, "instance": 0.0, "encode": 0.1, "panoptic": 0.1, "classify": 0.1},
                "seconds": 0.4,
                "cpu_seconds": 0.4,
                "total_seconds": 0.5,
                "total_cpu_seconds": 0.5,
            }
        ]
    )
    return {
        "job": {"preset": "demo", "image_size": [512, 384], "threads": 2},
        "machine": {"device": "a processor, 2 cores"},
        "load": {"foreign": 0.5, "busy": True, "processors": 2},
        "commit": "abc",
        "contenders": [row("official", 0.8, "torch"), failed, row("demo-fast", 0.2, "onnxruntime")],
        "growth": {
            "words": {
                "contender": "demo-fast",
                "rows": [measured | {"words": n, "encoded_seconds": 1.0} for n in (1, 20, 10_000)],
            },
            "windows": [
                {"windows": n, "height": 256, "width": 64 * n, "contenders": {"batched": measured}}
                for n in (4, 10)
            ],
        },
    }


def test_the_bar_of_a_technique_is_as_long_as_its_time(record: dict[str, Any]) -> None:
    pixels = np.asarray(waterfall.draw(record))
    lengths = [
        int((pixels == color).all(axis=2).sum(axis=1).max()) for color in (chart.COLORS[0], chart.COLORS[1])
    ]
    assert lengths[0] / lengths[1] == pytest.approx(4, rel=0.05)


def test_growth_is_drawn_over_words_and_windows(record: dict[str, Any]) -> None:
    lines = growth.over_words(record["growth"]["words"]["rows"])
    assert lines["all three tasks"] == [(1.0, 400.0), (20.0, 400.0), (10_000.0, 400.0)]
    assert lines["panoptic, saved"][0][1] == pytest.approx(400.0)
    assert list(growth.over_windows(record["growth"]["windows"])) == ["pruned, batched"]
    picture = growth.draw(record)
    assert picture is not None
    assert picture.width == chart.WIDTH
    assert growth.draw(record | {"growth": {}}) is None


def test_a_curve_of_memory_rises_as_high_as_its_share_of_the_largest(record: dict[str, Any]) -> None:
    assert memory.draw(record) is None
    for one, peak in zip(record["contenders"], (8e9, 0, 4e9), strict=True):
        if peak:
            curve = {"seconds": [0.0, 5.0, 10.0], "bytes": [0, peak, 0], "marks": {"opened": 2.0}}
            one["memory"] = curve
    picture = memory.draw(record)
    assert picture is not None
    pixels = np.asarray(picture)
    heights = []
    for color in chart.COLORS[:2]:
        rows = np.flatnonzero((pixels == color).all(axis=2).any(axis=1))
        # Below the legend.
        rows = rows[rows > 190]
        heights.append(rows.max() - rows.min())
    assert heights[0] / heights[1] == pytest.approx(2, rel=0.05)


def test_the_tables_have_every_contender_and_say_what_was_not_run(record: dict[str, Any]) -> None:
    first, stages, words, windows = tables(record)
    assert first.row_count == 3
    assert list(first.columns[1].cells) == ["800", "not run", "200"]
    assert stages.row_count == 5
    assert (words.row_count, windows.row_count) == (3, 2)


def test_the_table_of_the_readme_leaves_out_what_was_not_run(record: dict[str, Any]) -> None:
    lines = table(record).splitlines()
    assert "| PyTorch, official | 800 ms | 800 ms | 1,600 ms | baseline | 1.25 |" in lines
    assert "| `demo-fast` | 200 ms | 200 ms | 400 ms | 99.87% | 1.25 |" in lines
    assert not any("bad" in line for line in lines)
    assert "BUSY: other programs took 0.50 of 2 processors" in lines[0]


def test_the_readme_has_the_table_of_the_committed_record() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page, table(read_record(RECORD))) == page, "odise-trt bench readme"


def test_only_a_page_with_a_place_gets_the_table(record: dict[str, Any], tmp_path: Path) -> None:
    page, file = tmp_path / "page.md", tmp_path / "record.json"
    file.write_text(json.dumps(record))
    page.write_text("nothing")
    with pytest.raises(PageError, match="no place for the table"):
        update(page, file)
    page.write_text("before\n<!-- speed: odise-trt bench readme -->\nold\n<!-- end of speed -->\nafter\n")
    assert update(page, file)
    assert not update(page, file)
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith("<!-- end of speed -->\nafter\n")
    assert "old" not in page.read_text()


@pytest.mark.parametrize("content", ["", "[]", '{"machine": 1}'])
def test_what_is_no_record_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "record.json").write_text(content)
    with pytest.raises(PageError, match=r"record\.json"):
        read_record(tmp_path / "record.json")


def test_a_picture_replaces_an_older_one_and_no_other(tmp_path: Path, record: dict[str, Any]) -> None:
    path = tmp_path / "picture.png"
    chart.OWN.write(waterfall.draw(record), path)
    chart.OWN.check_place(path)
    chart.OWN.write(waterfall.draw(record), path)
    Image.new("RGB", (3, 3)).save(path)
    with pytest.raises(OutputError, match="is not a picture of the benchmark"):
        chart.OWN.check_place(path)


def test_numbers_have_three_digits_and_missing_ones_a_dash() -> None:
    assert [milliseconds(one) for one in (0.0012345, 0.0123, 0.1234, 12.3)] == [
        *("1.23 ms", "12.3 ms", "123 ms", "12,300 ms")
    ]
    assert number({"not_measured": "no GPU"}) == number(None) == "-"
    assert spread([1.0])["p90"] == 1.0

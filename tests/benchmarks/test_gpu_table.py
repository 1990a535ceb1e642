"""The tables and the waterfall of a recorded GPU measurement."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console

from benchmarks.gpu.picture import waterfall
from benchmarks.gpu.table import next_step, tables

MACHINE = {"device": "a card"}


@pytest.fixture(scope="module")
def h100(request: pytest.FixtureRequest) -> dict[str, Any]:
    record = request.config.rootpath / "benchmarks" / "results" / "odise-label-h100.json"
    found: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    return found


def printed(record: Mapping[str, Any]) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    for table in tables(record):
        console.print(table)
    return console.export_text()


def test_the_tables_show_the_recorded_run(h100: dict[str, Any]) -> None:
    text = printed(h100)
    assert "milliseconds, 1024x1024, NVIDIA H100 80GB HBM3" in text
    assert "milliseconds, 1024x1365, NVIDIA H100 80GB HBM3" in text
    (compiled,) = [line for line in text.splitlines() if "torch.compile" in line and "15.0x" in line]
    assert " 94.5 " in compiled
    assert "10000 categories" in text


def test_the_next_step_is_the_stage_with_most_seconds_above_its_floor(h100: dict[str, Any]) -> None:
    assert next_step(h100).startswith("next: features. Its best time is 47.6 ms")
    assert next_step({"machine": MACHINE, "sections": {}}) == ""


def test_what_failed_is_in_no_table(h100: dict[str, Any]) -> None:
    spoiled = json.loads(json.dumps(h100))
    for section in spoiled["sections"].values():
        for name in section:
            section[name] = {"error": "the clocks throttled", "measured": section[name]}
    assert printed(spoiled).strip() == ""
    assert waterfall(spoiled) is None


def test_engines_and_parity_have_tables_and_an_engine_can_be_the_best(h100: dict[str, Any]) -> None:
    record = json.loads(json.dumps(h100))
    record["sections"]["engines"] = {
        "tensorrt fp16 features, CUDA graphs": {"seconds": 0.02, "relative_l2": {"s2": 1e-3, "s3": 2e-3}}
    }
    record["sections"]["parity"] = {
        "features fp16 4 windows": {"max_abs": 0.5, "relative_l2": 3e-3},
        "end to end fp16": {"mask_pred_relative_l2": 4e-3, "mask_iou": 0.99, "panoptic_agreement": 0.998},
    }
    text = printed(record)
    assert "20.00" in text
    assert "2.0e-03" in text
    assert "99.80%" in text
    assert "tensorrt fp16 features, CUDA graphs" in next(
        line for line in text.splitlines() if "10.044" in line
    )


def test_the_waterfall_has_a_bar_per_technique_of_the_first_size(h100: dict[str, Any]) -> None:
    image = waterfall(h100)
    assert image is not None
    assert image.height == 92 + 34 * 11 + 20
    features = [
        sum(image.getpixel((x, 92 + 34 * row + 17)) == (31, 119, 180) for x in range(image.width))
        for row in range(11)
    ]
    assert features[0] == pytest.approx(features[1] * 1286 / 319, rel=0.05)

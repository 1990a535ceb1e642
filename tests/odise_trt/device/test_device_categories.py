"""Vocabularies so large that a picture's rows go by in blocks, down to one row per run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.random_table import random_table
from odise_trt import Segmenter
from odise_trt.errors import DeviceMemoryWarning
from odise_trt.task import TASKS
from odise_trt.text_table import TextTable
from tests.odise_trt.device.on_stand_in import OnStandIn, assert_same
from tests.odise_trt.streaming.parts import ReadAhead
from tests.stand_in.host import HostMemory

MOST = 20_000


@pytest.fixture(autouse=True)
def _words_as_before(gpu: OnStandIn, host: Segmenter) -> Iterator[None]:
    before = [(one, one._table) for one in (gpu.segmenter, host)]
    yield
    for one, table in before:
        one._table = table


def table_of(host: Segmenter, categories: int) -> TextTable:
    """Random embeddings, as wide as the bundle's."""
    model = host.bundle.manifest.model
    return random_table(categories, model.mask_embed_dim, model.clip_dim)


def rows_per_run(one: OnStandIn) -> list[int]:
    return [shapes["row_index"][0] for stage, shapes in one.machine.ran if stage == "semantic"]


@pytest.mark.parametrize(
    ("categories", "rows"),
    [(256, [45, 45]), (2048, [8] * 11 + [2]), (2049, [1] * 90), (MOST, [1] * 90)],
    ids=("256", "2048", "2049", "most"),
)
def test_the_more_categories_the_fewer_rows_run_at_once(
    gpu: OnStandIn, host: Segmenter, small: np.ndarray, categories: int, rows: list[int]
) -> None:
    gpu.segmenter._table = host._table = table_of(host, categories)
    gpu.machine.ran.clear()
    found = gpu.segmenter.results(small, TASKS)
    assert small.shape[0] == 90
    assert rows_per_run(gpu) == rows
    expected = host.results(small, TASKS)
    assert len(np.unique(expected["semantic"].semantic)) > 1
    assert_same(found, expected)


def test_the_third_picture_with_most_categories_is_one_recording(
    gpu: OnStandIn, host: Segmenter, small: np.ndarray
) -> None:
    gpu.segmenter._table = host._table = table_of(host, MOST)
    expected = host.results(small, ("semantic",))
    launches = gpu.cuda.counts.launches
    for _ in range(3):
        assert_same(gpu.segmenter.results(small, ("semantic",)), expected, ("semantic",))
    assert gpu.cuda.counts.launches == launches + 1


def test_pictures_of_a_group_with_most_categories_equal_those_of_the_cpu(
    gpu: OnStandIn, host: Segmenter, small: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odise_trt.segmenter.Reader", ReadAhead)
    gpu.segmenter._table = host._table = table_of(host, MOST)
    gpu.machine.ran.clear()
    given = [small, np.ascontiguousarray(small[::-1])]
    for one, pixels in zip(gpu.segmenter.stream(given, "semantic"), given, strict=True):
        assert one.error is None
        expected = host.results(pixels, ("semantic",))
        assert_same({"semantic": one.result}, expected, ("semantic",))
    assert rows_per_run(gpu) == [1] * (2 * small.shape[0])
    assert [shapes["windows"][0] for stage, shapes in gpu.machine.ran if stage == "features"] == [2]


def test_engines_of_onnxruntime_take_most_categories_by_addresses(
    source: Path, host: Segmenter, small: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odise_trt.chains.choose.on_device", lambda backend: (backend, HostMemory()))
    table = table_of(host, MOST)
    with Segmenter.open(source, verify="size", cache=False) as segmenter:
        segmenter._table = host._table = table
        assert segmenter.runs_on["between engines"] == "engines"
        assert_same(
            segmenter.results(small, ("semantic",)), host.results(small, ("semantic",)), ("semantic",)
        )


def test_with_little_memory_one_row_runs_at_once_and_it_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, host: Segmenter, small: np.ndarray
) -> None:
    own = OnStandIn(folder, monkeypatch, hungry={"semantic": 100_000.0})
    with own.segmenter:
        own.segmenter(small)
        scratch = 100_000 * 4 * small.shape[1]
        # Enough for the tensors, and for the scratch memory of one row.
        (plan,) = own.chain._programs._plans.values()
        own.cuda.space.limit = own.cuda.space.used + 4 * plan.arena.bytes + scratch + scratch // 2
        own.segmenter._table = host._table = table_of(host, 200)
        own.machine.ran.clear()
        with pytest.warns(DeviceMemoryWarning, match=r"little free memory: 1 rows run at once"):
            found = own.segmenter.results(small, ("semantic",))
        assert found["semantic"].provenance["rows per run"] == 1
        assert rows_per_run(own) == [1] * small.shape[0]
        assert_same(found, host.results(small, ("semantic",)), ("semantic",))

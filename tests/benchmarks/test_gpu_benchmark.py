"""The GPU benchmark on a CPU, with a tiny model: its techniques agree, and its numbers are what they say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import techniques
from benchmarks.gpu.command import SectionName
from benchmarks.gpu.sections import SECTIONS, Bench, floor, waterfall
from benchmarks.gpu.timing import StageClock, measure
from tests.door import call, verb
from tests.tiny_preset import TINY


@pytest.fixture(scope="module")
def bench() -> Bench:
    cpu = torch.device("cpu")
    return Bench(TINY, "random:0", cpu, ((64, 128),), vocabulary="cup; table", repeats=1, seconds=0.0)


@pytest.mark.parametrize("half", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_every_technique_finds_what_the_official_way_finds(bench: Bench, half: bool) -> None:
    # Half precision on a CPU takes twenty times as long.
    picture = bench.picture(bench.sizes[0])
    every = techniques.waterfall(bench.model, bench.half if half else None, bench.device)
    for name, technique in every.items():
        if ("fp16" in name) is not half:
            continue
        found = bench.time(technique, picture, warmup=0)
        assert found["mask_pred_relative_l2"] < (0.05 if half else 1e-5), name
        assert found["panoptic_agreement"] > (0.9 if half else 0.999), name
        assert set(found["stages"]) >= {"captioner", "features", "mask_head", "clip_pool", "postprocess"}


def test_the_floor_of_a_stage_is_its_work_over_the_measured_ceilings(bench: Bench) -> None:
    found = dict(floor(bench))
    limits = found.pop("ceilings")
    assert set(found) == {"captioner", "features", "mask_head", "clip_pool"}
    for stage in found.values():
        times = stage["flops"] / limits["fp16_flops"], stage["bytes"] / limits["copy_bytes"]
        assert stage["floor_seconds"] == max(times) > 0


def test_three_runs_are_measured_even_if_one_takes_all_the_time() -> None:
    calls: list[StageClock] = []
    found = measure(calls.append, torch.device("cpu"), repeats=50, seconds=0.0, warmup=1)
    assert found["runs"] == 3
    assert len(calls) == 4
    assert found["p10"] <= found["seconds"] <= found["p90"]


def test_the_command_writes_the_numbers_of_the_sections_that_were_chosen(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    options = ["--preset", "demo", "--weights", "random:0", "--device", "cpu", "--side", "64"]
    done = call(verb("benchmarks.cli:app", "gpu"), *options, "--section", "floor", "--output", record)
    assert done.status == 0, done.stderr
    found = json.loads(record.read_text(encoding="utf-8"))
    assert found["preset"] == "demo"
    assert set(found["sections"]) == {"floor"}
    assert found["sections"]["floor"]["features"]["flops"] > 1e9


def test_a_technique_that_fails_says_why_and_the_others_are_measured(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no such kernel")

    names = "official, fp32", "pruned, fp32"
    working = techniques.waterfall(bench.model, None, bench.device)
    every = {"broken": (fails, nullcontext), **{name: working[name] for name in names}}
    monkeypatch.setattr(techniques, "waterfall", lambda *_: every)
    numbers = dict(waterfall(bench))
    assert numbers["64x128/broken"] == {"error": "RuntimeError: no such kernel"}
    assert numbers["64x128/pruned, fp32"]["seconds"] > 0


def test_a_stage_on_onnx_runtime_is_compared_with_the_reference(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    options = [
        "--preset",
        "demo",
        "--weights",
        "random:0",
        "--device",
        "cpu",
        "--precision",
        "fp32",
        "--side",
        "128",
    ]
    done = call(
        verb("benchmarks.cli:app", "cuda-engines"), *options, "--stage", "clip_pool", "--output", record
    )
    assert done.status == 0, done.stderr
    stage = json.loads(record.read_text(encoding="utf-8"))["stages"]["clip_pool"]
    assert stage["providers"] == ["CPUExecutionProvider"]
    assert stage["relative_l2"]["clip_mask_embed"] < 1e-4


def test_every_section_can_be_chosen() -> None:
    assert tuple(SectionName) == tuple(SECTIONS)


def test_a_failure_is_in_the_record_and_in_the_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(bench: Bench) -> Iterator[tuple[str, object]]:
        yield "one", {"error": "RuntimeError: no such kernel"}

    monkeypatch.setitem(SECTIONS, "floor", fails)
    record = tmp_path / "record.json"
    options = ["--preset", "demo", "--device", "cpu", "--section", "floor"]
    done = call(verb("benchmarks.cli:app", "gpu"), *options, "--output", record)
    assert done.status == 1
    assert "not all was measured: floor" in done.stderr
    assert "no such kernel" in record.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stage", "decoder"], "there is no stage 'decoder'"),
        (["--device", "abacus"], "there is no device 'abacus'"),
    ],
)
def test_a_slip_is_named_before_weights_are_read(options: list[str], message: str, tmp_path: Path) -> None:
    arguments = ["--weights", "missing.safetensors", "--output", tmp_path / "record.json"]
    done = call(verb("benchmarks.cli:app", "cuda-engines"), *options, *arguments)
    assert done.status == 1
    assert message in done.stderr

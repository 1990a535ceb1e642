"""The parts of the GPU benchmark that measure bundles: on the CPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from benchmarks.gpu import bundles, categories, kernels, runtime, stages, variants
from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.process import run_limited
from benchmarks.gpu.programs import stages_of
from benchmarks.gpu.sections import Bench
from benchmarks.gpu.table import tables
from benchmarks.roofline.ceilings import Size
from odise_trt import Segmenter
from odise_trt.backends.device import DeviceTensor
from odise_trt.chains.program import Clear, Copy, Launch, Program
from odise_trt.errors import BackendError, ImageError
from tests.odise_trt import toy_bundle

SMALL = Size(side=8, channels=2, height=8, repeats=2, copied=1024)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle.make(tmp_path_factory.mktemp("engines") / "toy")


@pytest.fixture(autouse=True)
def _few_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "SIZES", {"cpu": SMALL})
    monkeypatch.setattr(bundles, "_LEAST", 1)
    monkeypatch.setattr(bundles, "_STREAMED", 4)


def bench(*folders: Path, sizes: tuple[tuple[int, int], ...] = ((128, 128),), words: str = "red") -> Bench:
    engines = tuple(str(one) for one in folders)
    device = torch.device("cpu")
    return Bench("toy", "random:0", device, sizes, words, repeats=3, seconds=0.0, engines=engines)


def test_every_bundle_is_measured_at_every_size(toy: Path) -> None:
    found = dict(runtime.runtime(bench(toy, toy, sizes=((128, 128), (128, 192)))))
    assert list(found) == ["toy, 128x128", "toy, 128x192"]
    one = found["toy, 128x128"]
    assert one["best_seconds"] <= one["seconds"]
    assert min(one[name] for name in ("first_seconds", "second_seconds", "streamed_per_second")) > 0
    assert one["all_tasks"]["runs"] == 3
    assert (one["steps"], one["host_seconds_to_queue"]) == ({}, {})
    assert one["recording"] == {"why_not": "numpy works between the engines, and nothing is recorded"}
    assert (one["agreement_of_runs"], one["bytes_of"]) == (1.0, "resident memory of the process")
    assert one["runs_on"]["device"] == "cpu"
    json.dumps(found)


def test_a_picture_of_a_stream_that_fails_is_an_error(toy: Path) -> None:
    with (
        Segmenter.open(toy, vocabulary="red", cache=False) as segmenter,
        pytest.raises(ImageError),
    ):
        bundles.streamed(segmenter, np.zeros((0, 4, 3), np.uint8), 0.0)


@pytest.mark.parametrize(
    "part",
    [
        runtime.runtime,
        stages.stages,
        kernels.kernels,
        lambda one: variants.variant(one, "1"),
        lambda one: categories.categories(one, "5"),
    ],
)
def test_without_a_bundle_a_part_is_refused(part: Any) -> None:
    with pytest.raises(BackendError, match=r"no bundle to measure\n.*--engines"):
        list(part(bench()))


def test_stages_on_a_cpu_are_run_from_the_host_and_counted(toy: Path) -> None:
    found = dict(stages.stages(bench(toy)))
    limits = found.pop("toy, 128x128, ceilings")
    assert min(limits.values()) > 0
    assert [name.rsplit(", ", 1)[1] for name in found] == ["captioner", "features", "mask_head", "clip_pool"]
    for one in found.values():
        assert one["how"].startswith("run from the host")
        assert 0 < one["best_seconds"] <= one["seconds"]
        # The graphs of the toy bundle have one convolution, a product, and copies.
        assert one["floor_seconds"] >= one["bytes"] / limits["copy"]
    # A 1 x 1 convolution of three maps to four, 32 x 32 elements; and an addition of biases is not counted.
    assert found["toy, 128x128, mask_head"]["flops"] == 2 * 3 * 4 * 32 * 32


def test_ceilings_that_cannot_be_measured_lose_no_stage(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "SIZES", {})
    found = dict(stages.stages(bench(toy)))
    assert found.pop("toy, 128x128, ceilings") == {"error": "KeyError: 'cpu'"}
    assert all(one["seconds"] > 0 and "floor_seconds" not in one for one in found.values())
    assert len(found) == 4


def test_operators_are_counted_by_kind_and_have_the_time_of_the_processor(toy: Path) -> None:
    found = dict(kernels.kernels(bench(toy)))
    head = found["toy, 128x128, mask_head"]
    assert head["times"] == "the processor's"
    assert head["operators"]["Conv"]["count"] == 1
    assert head["count"] == sum(one["count"] for one in head["operators"].values())
    assert head["seconds"] == pytest.approx(sum(one["seconds"] for one in head["operators"].values()))


def test_a_stage_that_cannot_be_profiled_loses_no_other(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = kernels.profiler_of("onnxruntime")

    def profile(bundle: Any, stage: str, *rest: Any) -> Any:
        if stage == "features":
            raise BackendError("no such kernel")
        return real(bundle, stage, *rest)

    monkeypatch.setattr(kernels, "profiler_of", lambda name: profile)
    found = dict(kernels.kernels(bench(toy)))
    assert found["toy, 128x128, features"] == {"error": "BackendError: no such kernel"}
    assert all(one["seconds"] > 0 for name, one in found.items() if not name.endswith("features"))


def test_runs_of_kernels_are_grouped_by_name_the_longest_first() -> None:
    found = kernels.grouped([("short", 1.0), ("long", 2.0), ("short", 0.5), ("long", 1.0)])
    assert (found["count"], found["seconds"]) == (4, 4.5)
    assert found["longest"][0] == {"name": "long", "count": 2, "seconds": 3.0}


def test_events_of_the_profiler_that_ran_elsewhere_are_left_out() -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        torch.ones(3).cos()
    assert list(kernels.device_events(profiler.events())) == []
    here = dict(kernels.device_events(profiler.events(), "CPU"))
    assert here["aten::cos"] > 0


@pytest.mark.parametrize("windows", ["most", "1"])
def test_a_variant_says_its_windows_its_times_and_its_memory(toy: Path, windows: str) -> None:
    ((name, one),) = variants.variant(bench(toy), windows)
    assert name == f"toy, 128x128, windows at once: {'as many as engines take' if windows == 'most' else 1}"
    assert one["max_windows"] == windows
    assert one["stream_peak_bytes"] >= one["peak_bytes"] >= one["opened_bytes"]
    assert min(one["seconds"], one["streamed_per_second"]) > 0


def test_every_variant_of_memory_is_a_process_of_its_own_with_its_environment(tmp_path: Path) -> None:
    variants = {part.name: part for part in PARTS if part.section == "memory"}
    assert {part.arguments for part in variants.values()} == {("most",), ("4",), ("2",), ("1",)}
    (small,) = (part for part in variants.values() if part.environment)
    assert (small.arguments, dict(small.environment)) == (("most",), {"CUBLAS_WORKSPACE_CONFIG": ":4096:1"})
    seen = tmp_path / "seen"
    code = f"import os; open({str(seen)!r}, 'w').write(os.environ['CUBLAS_WORKSPACE_CONFIG'])"
    assert run_limited([sys.executable, "-c", code], 60, dict(small.environment)).message == ""
    assert seen.read_text() == ":4096:1"


def test_a_workspace_of_cublas_is_refused_on_a_cpu(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variants.WORKSPACE, ":4096:1")
    with pytest.raises(BackendError, match="a CPU has no cuBLAS"):
        next(variants.variant(bench(toy), "most"))


def test_categories_are_random_embeddings_that_no_encoder_made(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("odise_trt.executor.Executor.encode_texts", None)
    ((name, one),) = categories.categories(bench(toy), "3000")
    assert name == "toy, 128x128, 3000 categories"
    assert one["seconds"] > 0
    assert (one["rows_per_run"], one["runs_of_semantic"]) == (None, 0)


def test_a_program_is_cut_into_stages_with_what_is_copied_for_them() -> None:
    def tensor(address: int) -> DeviceTensor:
        return DeviceTensor(address, "float32", (1,))

    def launch(stage: str, given: int, made: int) -> Launch:
        engine = type("Engine", (), {"spec": type("Spec", (), {"name": stage})})()
        return Launch(engine, {"x": tensor(given)}, {"y": tensor(made)})  # type: ignore[arg-type]

    before, clear = Copy(tensor(2), tensor(1)), Clear(tensor(9))
    first, again, last = launch("cut", 2, 3), launch("cut", 9, 4), launch("paint", 5, 6)
    after, other = Copy(tensor(7), tensor(4)), Copy(tensor(5), tensor(7))
    cut, paint = stages_of(Program((before, first, clear, again, after, other, last)))
    assert cut == ("cut", Program((before, first, clear, again, after)))
    assert paint == ("paint", Program((other, last)))


@pytest.mark.parametrize(
    ("card", "bundle", "numbers"),
    [
        ("h100", "onnxruntime_cuda-fp16, 1024x1024", (" 82.5 ", " 13.4 ")),
        ("h200", "onnxruntime_cuda-fp16, CUDA graphs, 1024x1024", (" 70.5 ", " 15.6 ")),
    ],
)
def test_the_recorded_bundles_have_a_table(
    card: str, bundle: str, numbers: tuple[str, ...], root: Path
) -> None:
    record = json.loads((root / f"benchmarks/results/odise-label-onnxruntime-{card}.json").read_text())
    rows = [line for line in printed(record).splitlines() if bundle in line]
    assert any(all(number in row for number in numbers) for row in rows)


def test_every_part_has_its_table(toy: Path) -> None:
    own = bench(toy)
    sections = {
        "runtime": dict(runtime.runtime(own)),
        "stages": dict(stages.stages(own)),
        "kernels": dict(kernels.kernels(own))
        | {"toy, 128x128, cut, kernels": kernels.grouped([("copy", 1e-3)])},
        "memory": dict(variants.variant(own, "1")),
        "categories": dict(categories.categories(own, "5")),
    }
    text = printed({"machine": {"device": "a card"}, "sections": sections})
    for title in (
        "bundles, a card",
        "stages alone, a card",
        "operators by kind, a card; seconds are the processor's",
        "kernels, a card",
        "memory, a card: resident memory of the process",
        "the semantic task, a card",
    ):
        assert title in text
    (kernel,) = [line for line in text.splitlines() if " copy " in line]
    assert "1.000" in kernel


def printed(record: dict[str, Any]) -> str:
    console = Console(width=200, record=True, quiet=True)
    with console.capture() as captured:
        console.quiet = False
        for table in tables(record):
            console.print(table)
    return captured.get()

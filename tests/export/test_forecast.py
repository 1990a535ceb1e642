"""What a build says about itself before it begins, and when it refuses to begin."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from export import fit as fitting
from export import forecast as forecasting
from export.build import build
from export.cost_model import Cost, engine_cost, export_cost
from export.dry_run import as_data
from export.fit import judge, require_fit
from export.forecast import Forecast, forecast
from export.parity import check_sizes
from export.plan import Request
from export.prepared import prepare
from export.quantizing.cost import with_quantizing
from export.stage_work import StageWork, work_of
from export.stages import all_stages
from odise_trt.errors import ExportError
from reference.preset import ODISE_LABEL
from tests.door import call, verb
from tests.export.quick_build import STAGES, Log, make_quick, quick_request

GB = 10**9


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        make_quick(patch)
        yield


@pytest.fixture(scope="module")
def full_size() -> tuple[int, dict[str, StageWork]]:
    """The published model, without a single number of it in memory."""
    return work_of(ODISE_LABEL, ("captioner", "features", "text_encoder"))


def test_the_work_of_a_stage_is_counted_without_its_weights(
    full_size: tuple[int, dict[str, StageWork]],
) -> None:
    whole, work = full_size
    assert whole == pytest.approx(6.09e9, rel=0.01)  # the memory of the loaded model
    assert {name: one.leaves for name, one in work.items()} == {
        "captioner": 296,
        "features": 1097,
        "text_encoder": 295,
    }
    # The sizes of the graphs that a build wrote.
    graphs = {"captioner": 1.2257e9, "features": 3.7222e9, "text_encoder": 0.4955e9}
    for name, size in graphs.items():
        assert 4 * sum(work[name].weights.values()) == pytest.approx(size, rel=0.01)
    # A window of 512 x 512: 0.558 + 0.370 + 0.311 TMAC in VAE and UNet, and 0.02 in the projections.
    assert work["features"].flop == pytest.approx(2 * 1.259e12, rel=0.02)


@pytest.mark.parametrize(
    ("stage", "precision", "peak"),
    [
        ("captioner", "fp32", 2.29e9),
        ("text_encoder", "fp32", 1.8e9),
        ("features", "fp32", 7.5e9),
        ("features", "fp16", 9.15e9),
    ],
)
def test_an_estimate_of_memory_is_within_a_tenth_of_what_builds_took(
    stage: str, precision: str, peak: float, full_size: tuple[int, dict[str, StageWork]]
) -> None:
    """Builds of odise-label with one window per comparison."""
    _, work = full_size
    spec = all_stages()[stage].declare(ODISE_LABEL).at(precision)
    cost = export_cost(
        work[stage],
        spec,
        ODISE_LABEL,
        0,
        check_sizes(spec, {"windows": 1}),
        bytes_per_number=4 if precision == "fp32" else 2,
        threads=2,
    )
    assert cost.peak_bytes == pytest.approx(peak, rel=0.1)


@pytest.mark.parametrize(
    ("stage", "seconds"), [("captioner", (35, 63)), ("features", (138, 340)), ("text_encoder", (27, 36))]
)
def test_an_estimate_is_within_a_quarter_of_what_builds_took(
    stage: str, seconds: tuple[float, float], full_size: tuple[int, dict[str, StageWork]]
) -> None:
    """Three builds of odise-label, in float32, with one window per comparison, on two cores."""
    _, work = full_size
    spec = all_stages()[stage].declare(ODISE_LABEL).at("fp32")
    cost = export_cost(
        work[stage],
        spec,
        ODISE_LABEL,
        0,
        check_sizes(spec, {"windows": 1}),
        bytes_per_number=4,
        threads=2,
    )
    assert seconds[0] / 1.25 < cost.seconds < 1.25 * seconds[1]


def test_an_estimate_counts_the_memory_of_modelopt(full_size: tuple[int, dict[str, StageWork]]) -> None:
    """In int8 `features` took 12.9 GB in ModelOpt's process, and 1.1 GB in the one that waited for it."""
    _, work = full_size
    quantized = with_quantizing(Cost(150, 9.2e9, 1.9e9), work["features"], 3, 2)
    assert quantized.peak_bytes == pytest.approx(14.0e9, rel=0.1)
    assert with_quantizing(Cost(150, 20e9, 1.9e9), work["features"], 3, 2).peak_bytes == 20e9


def test_an_estimate_counts_the_time_of_calibration(full_size: tuple[int, dict[str, StageWork]]) -> None:
    """A square picture (four windows, and not six) took 591 s on busy cores, three of 4 : 3 1875 s."""
    _, work = full_size
    one, three = (with_quantizing(Cost(0, 0, 0), work["features"], count, 2).seconds for count in (1, 3))
    assert 591 / 1.6 < one < 1.25 * 591
    assert 1875 / 1.6 < three < 1875


def test_the_estimate_of_an_engine_is_what_one_took(full_size: tuple[int, dict[str, StageWork]]) -> None:
    """The engine of `features` for TensorRT for RTX in fp16: 141 s, 9.7 GB at its peak, 1.9 GB on disk."""
    _, work = full_size
    cost = engine_cost(work["features"], 0, 2)
    assert cost.seconds == pytest.approx(141, rel=0.05)
    assert cost.peak_bytes == pytest.approx(9.7e9, rel=0.05)
    assert cost.file_bytes == pytest.approx(1.9e9, rel=0.05)


def test_a_forecast_says_what_is_built_and_what_is_kept(tmp_path: Path) -> None:
    request = quick_request(tmp_path)
    found = forecast(prepare(request))
    assert [(stage.spec.name, stage.kept) for stage in found.bundles[0].stages] == [
        (name, False) for name in STAGES
    ]
    assert 0 < found.seconds[0] < found.seconds[1]
    assert os.listdir(tmp_path) == []
    with pytest.raises(KeyboardInterrupt):
        build(request, Log(stop_at="text_encoder"))
    stopped = forecast(prepare(request)).bundles[0].stages
    assert [stage.kept for stage in stopped] == [True, True, False]
    again = forecast(prepare(replace(request, force=True))).bundles[0].stages
    assert [stage.kept for stage in again] == [False] * 3
    build(request, Log())
    done = forecast(prepare(request))
    assert [stage.kept for stage in done.bundles[0].stages] == [True] * 3
    assert (done.seconds, done.peak_bytes) == ((0, 0), 0)


def test_stages_that_share_weights_need_the_disk_once(tmp_path: Path) -> None:
    captioner, clip_pool, _ = forecast(prepare(quick_request(tmp_path))).bundles[0].stages
    alone = quick_request(tmp_path)
    (by_itself,) = forecast(prepare(replace(alone, stages=("clip_pool",)))).bundles[0].stages
    assert clip_pool.onnx_bytes < by_itself.onnx_bytes / 2
    assert captioner.onnx_bytes > by_itself.onnx_bytes / 2


def test_bundles_with_the_same_graphs_count_their_export_once(tmp_path: Path) -> None:
    request = quick_request(tmp_path, backends=("tensorrt", "tensorrt_rtx"), onnx_only=True)
    both, alone = (forecast(prepare(one)) for one in (request, replace(request, backends=("tensorrt",))))
    first, second = both.bundles
    assert [stage.shared for stage in first.stages] == [False] * 3
    assert [stage.shared for stage in second.stages] == [True] * 3
    assert all(stage.seconds == 0 for stage in second.stages)
    assert both.seconds == alone.seconds
    assert second.disk_bytes == first.disk_bytes > 0


MACHINE = Forecast((), (60.0, 96.0), 15 * GB, 24 * GB, 20 * GB)
REQUEST = Request("odise-label", "random:0", jobs=2)


@pytest.mark.parametrize(
    ("peak", "problems", "doubts"),
    [
        (15, "", ""),
        (22, "", "20.0 GB of memory are free now: close other programs, or give --jobs 1 and"),
        (25, "", "memory may not suffice: give --jobs 1 and --parity-windows 1"),
        (29, "", "memory may not suffice"),
        (31, "it needs about 31.0 GB of memory, there are 24.0 GB", ""),
    ],
)
def test_only_what_is_far_too_large_is_refused(peak: int, problems: str, doubts: str) -> None:
    found = judge(replace(MACHINE, peak_bytes=peak * GB), REQUEST)
    assert [problem for problem, _ in found.problems] == ([problems] if problems else [])
    assert len(found.doubts) == bool(doubts)
    assert all(doubt.startswith(doubts) for doubt in found.doubts)


def test_a_refusal_says_what_to_change() -> None:
    machine = replace(MACHINE, peak_bytes=40 * GB)
    found = judge(machine, REQUEST)
    with pytest.raises(ExportError, match=r"it needs about 40\.0 GB of memory, there are 24\.0 GB") as caught:
        require_fit(found)
    assert caught.value.hint == "give --jobs 1 and --parity-windows 1; --anyway builds all the same"
    last = judge(machine, replace(REQUEST, jobs=1, parity_limits={"windows": 1}))
    assert last.problems[0][1] == "use a machine with more memory"


def test_a_machine_that_does_not_say_its_memory_is_not_refused() -> None:
    require_fit(judge(replace(MACHINE, peak_bytes=40 * GB, memory=None, available=None), REQUEST))


def test_a_disk_that_is_far_too_full_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = quick_request(tmp_path / "new")
    need = forecast(prepare(request)).bundles[0].disk_bytes
    for free, problems, doubts in ((need, 0, 0), (need - 1, 0, 1), (need // 2, 1, 0)):
        usage = SimpleNamespace(free=free)
        monkeypatch.setattr(forecasting.shutil, "disk_usage", lambda place, usage=usage: usage)
        found = judge(forecast(prepare(request)), request)
        assert (len(found.problems), len(found.doubts)) == (problems, doubts)


def test_a_build_that_cannot_fit_is_refused_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.build.require_room", lambda needs, preset: GB)
    for module in (fitting, forecasting):
        monkeypatch.setattr(module, "memory_bytes", lambda: 10**6)
    log = Log()
    with pytest.raises(ExportError, match="the build is estimated not to fit this machine"):
        build(quick_request(tmp_path), log)
    assert log.begun == []
    assert os.listdir(tmp_path) == []
    build(quick_request(tmp_path, anyway=True), log)
    assert log.exported() == list(STAGES)


def run(output: Path, *words: str) -> Any:
    stages = ("--stage", "captioner", "--stage", "text_encoder")
    return call(verb("export.cli:build"), "--dry-run", *stages, "--output", output, *words)


def test_a_dry_run_prints_a_table_and_writes_nothing(tmp_path: Path) -> None:
    done = run(tmp_path / "out")
    assert done.status == 0
    lines = done.stdout.splitlines()
    assert lines[0] == f"{tmp_path / 'out' / 'demo-onnxruntime-fp32'} (onnxruntime)"
    assert [line.split()[1] for line in lines if line.startswith("│")] == ["captioner", "text_encoder"]
    assert "  captioner takes windows 1-10, side 64-128 in 2 profiles" in lines
    assert any("estimates" in line for line in lines)
    assert lines[-1].startswith("PASSED | ")
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_as_json_is_one_event_with_all_numbers(tmp_path: Path) -> None:
    plan, end = map(json.loads, run(tmp_path / "out", "--json").stdout.splitlines())
    assert (plan["event"], end["event"]) == ("plan", "passed")
    (bundle,) = plan["bundles"]
    captioner, _ = bundle["stages"]
    assert captioner["axes"] == {"windows": [1, 10], "side": [64, 128]}
    assert captioner["engine_bytes"] is None
    assert bundle["disk_bytes"] == sum(stage["onnx_bytes"] for stage in bundle["stages"])
    assert plan["peak_bytes"] == max(stage["peak_bytes"] for stage in bundle["stages"])
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_what_cannot_fit_fails_unless_it_is_wanted_anyway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecasting, "memory_bytes", lambda: 10**6)
    done = run(tmp_path)
    assert done.status == 1
    assert done.stdout.splitlines()[-1].startswith("FAILED | ")
    assert "--anyway builds all the same" in done.stderr
    assert run(tmp_path, "--anyway").status == 0


def test_a_forecast_is_json(tmp_path: Path) -> None:
    request = quick_request(tmp_path)
    found = forecast(prepare(request))
    data = as_data(found, judge(found, request))
    assert json.loads(json.dumps(data)) == data

"""The GPU benchmark on a CPU, with a tiny model: its techniques agree, and its numbers are what they say."""

from __future__ import annotations

import ctypes
import importlib.util
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.gpu import techniques, worker
from benchmarks.gpu.clocks import Watch
from benchmarks.gpu.command import PartName
from benchmarks.gpu.engine_runs import Measured, _context, run_tensorrt
from benchmarks.gpu.engines import engine
from benchmarks.gpu.job import Job
from benchmarks.gpu.parity import parity
from benchmarks.gpu.parts import PARTS, PROBE
from benchmarks.gpu.probe import probe
from benchmarks.gpu.records import PartRecord, read_record
from benchmarks.gpu.sections import GROUPS, Bench, floor, waterfall
from benchmarks.gpu.timing import StageClock, measure
from odise_trt.backends.registry import BACKENDS, resolve
from odise_trt.errors import BackendError
from odise_trt.stage_spec import Axis, Profile, StageSpec, Tensor
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
        times = stage["flops"] / limits["fp32_flops"], stage["bytes"] / limits["copy_bytes"]
        assert stage["floor_seconds"] == max(times) > 0


def test_three_runs_are_measured_even_if_one_takes_all_the_time() -> None:
    calls: list[StageClock] = []
    found = measure(calls.append, torch.device("cpu"), repeats=50, seconds=0.0, warmup=1)
    assert found["runs"] == 3
    assert len(calls) == 4
    assert found["p10"] <= found["seconds"] <= found["p90"]


def test_a_technique_that_fails_says_why_and_the_others_are_measured(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no such kernel")

    names = "official, fp32", "pruned, fp32"
    working = techniques.waterfall(bench.model, None, bench.device)
    every = {"pruned, broken": (fails, nullcontext), **{name: working[name] for name in names}}
    monkeypatch.setattr(techniques, "waterfall", lambda *_: every)
    numbers = dict(waterfall(bench, "pruned"))
    assert numbers["64x128/pruned, broken"] == {"error": "RuntimeError: no such kernel"}
    assert numbers["64x128/pruned, fp32"]["seconds"] > 0


def test_every_part_is_a_function_and_fits_into_a_call_of_nine_minutes() -> None:
    assert len({part.name for part in PARTS}) == len(PARTS)
    assert all(callable(resolve(part.runs)) for part in PARTS)
    assert all(part.limit + PARTS[0].limit < 600 for part in PARTS)
    assert PARTS[0].name == PROBE
    assert [name.value for name in PartName] == [part.name for part in PARTS[1:]]


def test_a_device_that_is_not_there_is_in_the_record(tmp_path: Path) -> None:
    job = Job("demo", "random:0", "abacus", 64, 0.1, "fp32", "abc")
    worker.work(PARTS[0], job.bench, PartRecord(PROBE, {}), tmp_path, Watch(None))
    record = read_record(tmp_path, PROBE)
    assert record is not None
    assert "there is no device 'abacus'" in record.message


@pytest.mark.parametrize(("group", "count"), [("official", 3), ("pruned", 4)])
def test_groups_share_out_the_techniques(bench: Bench, group: str, count: int) -> None:
    every = techniques.waterfall(bench.model, None, bench.device)
    assert sum(GROUPS[group](name) for name in every) == count
    assert not any(GROUPS["half"](name) for name in every)


def test_the_parts_of_the_machine_name_every_backend_and_its_refusal(bench: Bench) -> None:
    found = dict(probe(bench))
    assert found["machine"]["device"]
    assert set(found) == {"machine", *(f"backend {name}" for name in BACKENDS)}
    assert "backend" in found["backend onnxruntime"]
    if importlib.util.find_spec("tensorrt") is None:
        assert "not installed" in found["backend tensorrt"]["refusal"]


def test_a_stage_on_onnx_runtime_is_compared_with_the_reference() -> None:
    own = Bench(TINY, "random:0", torch.device("cpu"), ((128, 128),), seconds=0.0, precision="fp32")
    found = dict(engine(own, "onnxruntime", "clip_pool"))
    assert list(found) == ["onnxruntime fp32 clip_pool"]
    numbers = found["onnxruntime fp32 clip_pool"]
    assert numbers["providers"] == ["CPUExecutionProvider"]
    assert numbers["relative_l2"]["clip_mask_embed"] < 1e-4
    assert numbers["max_abs"]["clip_mask_embed"] > 0


def test_an_engine_is_exported_as_a_build_exports_it(monkeypatch: pytest.MonkeyPatch) -> None:
    (entry,) = (one for one in BACKENDS.values() if one.fuses)
    own = Bench(TINY, "random:0", torch.device("cpu"), ((128, 128),), seconds=0.0, precision="fp16")
    told: dict[str, object] = {}

    def export(stage: object, spec: object, folder: Path, **options: object) -> None:
        told.update(options)
        raise InterruptedError

    monkeypatch.setattr("benchmarks.gpu.engines.open_backend", lambda *_, **__: SimpleNamespace(close=int))
    monkeypatch.setattr("benchmarks.gpu.engines.export_stage", export)
    with pytest.raises(InterruptedError):
        next(engine(own, entry.name, "clip_pool"))
    assert told == {"precision": "fp16", "lacks": entry.lacks, "fuses": entry.fuses}
    own.precision = "fp32"
    with pytest.raises(BackendError, match=r"has no engines in fp32\n  give --precision fp16"):
        next(engine(own, entry.name, "clip_pool"))


def test_a_backend_that_is_missing_is_refused_before_anything_is_exported(bench: Bench) -> None:
    with pytest.raises(BackendError):
        next(engine(bench, "tensorrt", "clip_pool"))


@pytest.mark.slow
def test_parity_is_of_every_stage_and_of_the_whole() -> None:
    own = Bench(TINY, "random:0", torch.device("cpu"), ((128, 256),), vocabulary="cup; table")
    found = dict(parity(own))
    for stage in ("captioner", "features", "mask_head", "clip_pool"):
        assert any(name.startswith(f"{stage} fp16") for name in found)
        assert all(
            one["relative_l2"] < 1e-5 for name, one in found.items() if name.startswith(f"{stage} fp32")
        )
    assert found["end to end fp32"]["panoptic_agreement"] > 0.999
    assert 0 < found["end to end fp16"]["mask_pred_relative_l2"] < 0.05


def test_tensorrt_for_rtx_compiles_its_kernels_before_the_first_run() -> None:
    made = []
    config = SimpleNamespace()
    engine_with_config = SimpleNamespace(
        create_runtime_config=lambda: config, create_execution_context=made.append
    )
    flavour = SimpleNamespace(DynamicShapesKernelSpecializationStrategy=SimpleNamespace(EAGER="eager"))
    _context(flavour, engine_with_config)
    assert made == [config]
    assert config.dynamic_shapes_kernel_specialization_strategy == "eager"


class Context:
    """A TensorRT context that doubles a tensor of the CPU in place of a kernel."""

    def __init__(self, runs: bool) -> None:
        self.runs = runs
        self.addresses: dict[str, int] = {}
        self.profile = -1
        self.shape: tuple[int, ...] = ()

    def set_optimization_profile_async(self, profile: int, stream: int) -> None:
        self.profile = profile

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        size = int(np.prod(self.shape))
        x, y = (
            np.ctypeslib.as_array((ctypes.c_float * size).from_address(self.addresses[name])) for name in "xy"
        )
        y[:] = 2 * x
        return self.runs


@pytest.mark.parametrize(("loads", "runs"), [(True, True), (True, False), (False, True)])
def test_tensorrt_fills_tensors_of_the_device_or_says_why_not(
    tmp_path: Path, loads: bool, runs: bool
) -> None:
    spec = StageSpec(
        "double",
        (Tensor("x", "float32", ("windows", 3)),),
        (Tensor("y", "float32", ("windows", 3)),),
        (Axis("windows", 1, 4, 10),),
        (Profile("few", {"windows": (1, 1, 2)}), Profile("many", {"windows": (3, 4, 10)})),
    )
    context = Context(runs)
    opened = SimpleNamespace(create_execution_context=lambda: context) if loads else None
    flavour = SimpleNamespace(
        ILogger=type("ILogger", (), {}),
        Runtime=lambda logger: SimpleNamespace(deserialize_cuda_engine=lambda data: opened),
    )
    entry = SimpleNamespace(name="tensorrt", suffix=".engine", load=lambda: flavour)
    (tmp_path / "double.engine").write_bytes(b"built before")
    x = torch.arange(12.0).reshape(4, 3)
    measured = Measured(spec, (x,), (2 * x,), 0.0)
    if not (loads and runs):
        with pytest.raises(BackendError, match="cannot load the engine" if runs else "cannot run the engine"):
            run_tensorrt(entry, tmp_path / "double.onnx", measured, graphs=False)  # type: ignore[arg-type]
        return
    found = run_tensorrt(entry, tmp_path / "double.onnx", measured, graphs=False)  # type: ignore[arg-type]
    assert context.profile == 1
    assert found["max_abs"] == {"y": 0.0}
    assert found["engine_bytes"] == 12

"""Programs of small stages: repeats, carried sums and parts, in ONNX Runtime and on the stand-in."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from odise_trt.backends import BACKENDS, open_backend
from odise_trt.backends.device import DeviceTensor, on_device
from odise_trt.backends.tensorrt import TensorRTBackend
from odise_trt.bundle.manifest import StageEntry
from odise_trt.chains.plan import make_plan
from odise_trt.chains.program import Copy, Launch, Program, bind
from odise_trt.errors import BackendError
from odise_trt.pipeline import Pipeline, Step
from tests.odise_trt import toy_bundle
from tests.odise_trt.small_stage import spec
from tests.stand_in.host import HostMemory
from tests.stand_in.tensorrt import Machine, engine_file

PIPELINE = Pipeline(
    (
        Step("double", {"x": "picture.x"}),
        Step(
            "running",
            {"part": "double.y", "one": "picture.one"},
            repeat="rows",
            carried={"total": "total_so_far"},
        ),
        Step("join", {"whole": "running.more", "total": "running.total"}),
    ),
    {
        "double": spec("double", {"x": ("height", 3)}, {"y": ("height", 3)}),
        "running": spec(
            "running",
            {"part": ("rows", 3), "one": (1,), "total_so_far": (3,)},
            {"more": ("rows", 3), "total": (3,)},
        ),
        "join": spec("join", {"whole": ("height", 3), "total": (3,)}, {"z": ("height", 3)}),
    },
)
GRAPHS = {
    "double": [helper.make_node("Add", ["x", "x"], ["y"])],
    "running": [
        helper.make_node("Add", ["part", "one"], ["more"]),
        helper.make_node("ReduceSum", ["part", "axis"], ["sum"], keepdims=0),
        helper.make_node("Add", ["sum", "total_so_far"], ["total"]),
    ],
    "join": [helper.make_node("Add", ["whole", "total"], ["z"])],
}
X = np.arange(300, dtype=np.float32).reshape(100, 3)
EXPECTED = 2 * X + 1 + (2 * X).sum(axis=0)


class OnDevice:
    """A backend with the engines, and memory for what the host gives."""

    def __init__(self, kind: str, folder: Path) -> None:
        entries = {}
        for name, stage in PIPELINE.stages.items():
            constants = {"axis": np.array([0])} if name == "running" else {}
            onnx.save(toy_bundle.model(stage, GRAPHS[name], **constants), folder / f"{name}.onnx")
            file = f"{name}.onnx"
            if kind == "stand-in":
                file = f"{name}.engine"
                (folder / file).write_bytes(engine_file(folder / f"{name}.onnx", stage))
            entries[name] = StageEntry(stage, file, (file,), "", 0.0, 0)
        self.machine = Machine()
        self.cuda: Any
        if kind == "stand-in":
            self.cuda = self.machine.cuda()
            self.backend: Any = TensorRTBackend("tensorrt", self.machine.module(), self.cuda)
        else:
            self.cuda, self.backend = HostMemory(), open_backend("onnxruntime")
        with self.cuda.current():
            self.engines = {name: self.backend.open_stage(folder, entry) for name, entry in entries.items()}
            self.tensors = {
                "picture.x": self.upload(X),
                "picture.one": self.upload(np.ones(1, np.float32)),
                "join.z": DeviceTensor(self.cuda.allocate(X.nbytes), "float32", X.shape),
            }

    def upload(self, array: np.ndarray) -> DeviceTensor:
        there = DeviceTensor(self.cuda.allocate(array.nbytes), str(array.dtype), array.shape)
        self.cuda.upload(there.address, array)
        return there

    def program(self, at_once: Mapping[str, int], budget: int = 2**30) -> Program:
        given = {name: one.shape for name, one in self.tensors.items() if name != "join.z"}
        plan = make_plan(PIPELINE, ("panoptic",), given, ["join.z"], self.engines, at_once, budget)
        self.backend.reserve_scratch(plan.most_scratch)
        arena = self.cuda.allocate(plan.arena.bytes)
        return bind(plan, self.engines, arena, self.tensors)

    def run(self, program: Program) -> np.ndarray:
        program.queue(self.cuda)
        found = np.empty_like(X)
        self.cuda.download(found, self.tensors["join.z"].address)
        self.cuda.synchronize()
        return found


@pytest.fixture(params=["stand-in", "onnxruntime"])
def there(request: pytest.FixtureRequest, tmp_path: Path):
    made = OnDevice(request.param, tmp_path)
    with made.cuda.current():
        yield made


@pytest.mark.parametrize("rows", [100, 64, 50, 33, 7, 1])
def test_blocks_of_any_size_give_the_same(there: OnDevice, rows: int) -> None:
    program = there.program({"rows": rows})
    launches = [one for one in program.operations if isinstance(one, Launch)]
    assert len(launches) == 2 + -(-100 // rows)
    for _ in range(2):  # the carried total begins at zero again
        np.testing.assert_array_equal(there.run(program), EXPECTED)


def test_parts_at_aligned_addresses_are_not_copied(there: OnDevice) -> None:
    assert [one for one in there.program({"rows": 64}).operations if isinstance(one, Copy)] != []
    assert [one for one in there.program({"rows": 100}).operations if isinstance(one, Copy)] == []


def test_an_engine_of_onnxruntime_says_what_is_wrong(tmp_path: Path) -> None:
    there = OnDevice("onnxruntime", tmp_path)
    engine, x = there.engines["double"], there.tensors["picture.x"]
    with pytest.raises(BackendError, match="output y has room for nothing"):
        engine.enqueue({"x": x}, {})
    engine.close()
    with pytest.raises(BackendError, match="stage double was closed"):
        engine.enqueue({"x": x}, {"y": there.tensors["join.z"]})


def test_what_is_recorded_runs_again(tmp_path: Path) -> None:
    there = OnDevice("stand-in", tmp_path)
    with there.cuda.current():
        program = there.program({"rows": 33})
        there.run(program)
        program.keep()
        assert not program.can_be_recorded()
        there.run(program)
        assert program.can_be_recorded()
        there.cuda.begin_recording()
        program.queue(there.cuda)
        graph = there.cuda.end_recording()
        other = there.upload(X + 1)
        there.cuda.copy(there.tensors["picture.x"].address, other.address, X.nbytes)
        there.cuda.launch(graph)
        found = np.empty_like(X)
        there.cuda.download(found, there.tensors["join.z"].address)
        there.cuda.synchronize()
    np.testing.assert_array_equal(found, EXPECTED + 2 + 200)


def test_with_less_memory_fewer_rows_run_at_once(tmp_path: Path) -> None:
    there = OnDevice("stand-in", tmp_path)
    there.machine.scratch = 1000.0
    given = {"picture.x": X.shape, "picture.one": (1,)}
    pipeline = Pipeline(PIPELINE.steps[1:2], PIPELINE.stages)
    given = {"double.y": X.shape, "picture.one": (1,)}
    with there.cuda.current():
        plans = [
            make_plan(pipeline, ("panoptic",), given, [], there.engines, {"rows": 100}, budget)
            for budget in (2**30, 700_000, 1000)
        ]
    assert [plan.per_run["running"] for plan in plans] == [100, 50, 1]
    assert [plan.reduced for plan in plans] == [{}, {"rows": 50}, {"rows": 1}]


class OnnxRuntimeOnGpu:
    """`onnxruntime` with the CUDA provider: what a session is opened with, and what is bound to it."""

    __version__ = "1.32.0"
    SessionOptions = staticmethod(lambda: SimpleNamespace(add_session_config_entry=lambda *entry: None))
    GraphOptimizationLevel = SimpleNamespace(ORT_ENABLE_ALL=1, ORT_ENABLE_EXTENDED=2)

    def __init__(self) -> None:
        self.opened: Any = None
        self.entries: list[tuple[str, str]] = []
        self.bound: list[tuple[Any, ...]] = []
        self.has_memory = True
        self.metadata: dict[str, str] = {}

    def set_default_logger_severity(self, level: int) -> None:
        pass

    def get_available_providers(self) -> list[str]:
        return ["CUDAExecutionProvider"]

    def RunOptions(self) -> Any:
        made = SimpleNamespace(waits=True)

        def add(*entry: str) -> None:
            made.waits = entry != ("disable_synchronize_execution_providers", "1")
            self.entries.append(entry)

        made.add_run_config_entry = add
        return made

    def ran(self, given: Any, options: Any = None) -> None:
        if options is None and not self.has_memory:
            raise RuntimeError("out of memory")
        self.bound.append(("ran", "waits" if options is None or options.waits else "queued"))

    def InferenceSession(self, path: str, options: Any, providers: Any, disabled_optimizers: Any) -> Any:
        self.opened = providers
        x, y = (SimpleNamespace(name=name, type="tensor(float)") for name in "xy")
        binding = SimpleNamespace(
            bind_input=lambda *given: self.bound.append(given),
            bind_output=lambda *given: self.bound.append(given),
            bind_cpu_input=lambda name, array: self.bound.append((name, array.dtype, array.shape)),
        )
        return SimpleNamespace(
            get_providers=lambda: ["CUDAExecutionProvider"],
            get_inputs=lambda: [x],
            get_outputs=lambda: [y],
            io_binding=lambda: binding,
            run_with_iobinding=self.ran,
            get_modelmeta=lambda: SimpleNamespace(custom_metadata_map=self.metadata),
        )


def test_onnxruntime_on_a_gpu_runs_on_our_stream_by_addresses_and_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, machine = OnnxRuntimeOnGpu(), Machine()
    monkeypatch.setitem(sys.modules, "onnxruntime", package)
    monkeypatch.setattr("odise_trt.backends.onnxruntime.open_cuda", machine.cuda)
    (tmp_path / "double.onnx").write_bytes(b"graph")
    backend = open_backend("onnxruntime", device="cuda:1")
    found = on_device(backend)
    assert found == (backend, machine.gpus[0])
    assert machine.gpus[0].index == 1

    engine = backend.open_stage(
        tmp_path, StageEntry(PIPELINE.stages["double"], "double.onnx", ("double.onnx",), "", 0.0, 0)
    )
    stream = str(machine.gpus[0].stream)
    ((provider, options),) = package.opened
    assert provider == "CUDAExecutionProvider"
    assert options == {
        "device_id": "1",
        "use_tf32": "0",
        "arena_extend_strategy": "kSameAsRequested",
        "user_compute_stream": stream,
    }
    assert ("disable_synchronize_execution_providers", "1") in package.entries
    x, y = DeviceTensor(4096, "float32", (5, 3)), DeviceTensor(8192, "float32", (5, 3))
    engine.enqueue({"x": x}, {"y": y})  # type: ignore[attr-defined]
    assert package.bound == [
        ("x", "cuda", 1, np.dtype("float32"), (5, 3), 4096),
        ("y", "cuda", 1, np.dtype("float32"), (5, 3), 8192),
        ("ran", "queued"),
    ]


@pytest.fixture
def on_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[OnnxRuntimeOnGpu, Any]:
    """The package, and an engine of it on a GPU."""
    package, _, engine = open_double(tmp_path, monkeypatch, {})
    return package, engine


def enqueue(engine: Any) -> None:
    tensors = [DeviceTensor(address, "float32", (5, 3)) for address in (4096, 8192)]
    engine.enqueue({"x": tensors[0]}, {"y": tensors[1]})


def test_of_many_queued_runs_some_are_waited_for(on_gpu: tuple[OnnxRuntimeOnGpu, Any]) -> None:
    """Only they give back the pinned memory that queued runs used."""
    package, engine = on_gpu
    for _ in range(600):
        enqueue(engine)
    assert package.bound.count(("ran", "waits")) == 2


COUNTED = {"odise_trt.sizes": "on the device"}
SHAPES = {"x": (5, 3)}


def open_double(
    folder: Path, monkeypatch: pytest.MonkeyPatch, metadata: Mapping[str, str]
) -> tuple[OnnxRuntimeOnGpu, Any, Any]:
    """The package, a backend for a GPU, and an engine whose graph has this metadata."""
    package = OnnxRuntimeOnGpu()
    package.metadata = dict(metadata)
    monkeypatch.setitem(sys.modules, "onnxruntime", package)
    monkeypatch.setattr("odise_trt.backends.onnxruntime.open_cuda", Machine().cuda)
    (folder / "double.onnx").write_bytes(b"graph")
    entry = StageEntry(PIPELINE.stages["double"], "double.onnx", ("double.onnx",), "", 0.0, 0)
    backend = open_backend("onnxruntime", device="cuda")
    return package, backend, backend.open_stage(folder, entry)


def test_a_graph_that_copies_nothing_from_the_host_can_be_recorded_after_one_more_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, backend, engine = open_double(tmp_path, monkeypatch, COUNTED)
    assert backend.no_graphs is None
    enqueue(engine)
    for _ in range(2):
        engine.keep(SHAPES)
    assert not engine.can_be_recorded(SHAPES)
    enqueue(engine)
    assert engine.can_be_recorded(SHAPES)
    assert not engine.can_be_recorded({"x": (6, 3)})
    engine.release(SHAPES)
    assert engine.can_be_recorded(SHAPES)
    engine.release(SHAPES)
    assert not engine.can_be_recorded(SHAPES)


def test_a_graph_that_copies_nothing_from_the_host_is_never_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting is not possible while a run is recorded."""
    package, _, engine = open_double(tmp_path, monkeypatch, COUNTED)
    for _ in range(600):
        enqueue(engine)
    assert package.bound.count(("ran", "waits")) == 0


@pytest.mark.parametrize("metadata", [{}, {"odise_trt.sizes": "on the host"}])
def test_graphs_that_copy_sizes_are_not_recorded(
    metadata: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, backend, engine = open_double(tmp_path, monkeypatch, metadata)
    assert "work out sizes on the host" in backend.no_graphs
    engine.keep(SHAPES)
    enqueue(engine)
    assert not engine.can_be_recorded(SHAPES)


def test_older_versions_of_onnxruntime_are_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnnxRuntimeOnGpu, "__version__", "1.30.2")
    _, backend, _ = open_double(tmp_path, monkeypatch, COUNTED)
    assert "onnxruntime 1.30.2 copies from the host in every run, 1.31 does not" in backend.no_graphs


def test_a_session_that_ran_queued_is_waited_for_before_it_goes(
    on_gpu: tuple[OnnxRuntimeOnGpu, Any],
) -> None:
    package, engine = on_gpu
    enqueue(engine)
    package.bound.clear()
    engine.close()
    assert package.bound == [("x", np.dtype("float32"), (5, 3)), ("y", "cuda", 0), ("ran", "waits")]
    engine.close()
    assert len(package.bound) == 3


def test_a_session_that_never_ran_goes_at_once(on_gpu: tuple[OnnxRuntimeOnGpu, Any]) -> None:
    package, engine = on_gpu
    engine.close()
    assert package.bound == []


def test_without_memory_for_that_run_the_session_stays(
    on_gpu: tuple[OnnxRuntimeOnGpu, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Freeing it could end the process."""
    kept: list[Any] = []
    monkeypatch.setattr("odise_trt.backends.onnxruntime_engine._UNSETTLED", kept)
    package, engine = on_gpu
    enqueue(engine)
    package.has_memory = False
    engine.close()
    assert len(kept) == 1


def test_graphs_with_fused_operators_have_options_of_their_own_and_need_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package = OnnxRuntimeOnGpu()
    monkeypatch.setitem(sys.modules, "onnxruntime", package)
    monkeypatch.setattr("odise_trt.backends.onnxruntime.open_cuda", Machine().cuda)
    (fused,) = (entry for entry in BACKENDS.values() if entry.fuses)
    backend = open_backend(fused.name, precision="fp16", device=fused.device)
    assert backend._options["cudnn_conv_algo_search"] == "HEURISTIC"  # type: ignore[attr-defined]
    with pytest.raises(BackendError, match=r"onnxruntime_cuda runs on NVIDIA GPUs only, not on 'cpu'"):
        open_backend(fused.name, precision="fp16", device="cpu")


def test_onnxruntime_on_a_gpu_without_cuda_python_takes_arrays_of_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", OnnxRuntimeOnGpu())
    monkeypatch.setattr("odise_trt.backends.onnxruntime.is_installed", lambda: False)
    assert on_device(open_backend("onnxruntime", device="cuda")) is None

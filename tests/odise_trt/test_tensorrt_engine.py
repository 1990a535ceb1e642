"""The order in which TensorRT is called, on the stand-in: `tests/stand_in`.

What can go wrong before the first kernel (wrong profile, a stale address, too little scratch memory, an
output read before the stream is done) is an error there. The `gpu` tests check numbers of real engines.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import helper

from odise_trt.backends.device import DeviceTensor, on_device
from odise_trt.backends.tensorrt import TensorRTBackend
from odise_trt.backends.tensorrt_engine import TensorRTEngine
from odise_trt.bundle.manifest import StageEntry
from odise_trt.errors import BackendError
from odise_trt.stage_spec import Axis, Profile, StageSpec, Tensor
from tests.odise_trt import toy_bundle
from tests.stand_in.memory import DeviceFaultError
from tests.stand_in.tensorrt import Machine, engine_file

SPEC = StageSpec(
    "double",
    (Tensor("x", "float32", ("windows", 64)),),
    (Tensor("y", "float32", ("windows", 64)),),
    (Axis("windows", 1, 4, 10),),
    (Profile("few", {"windows": (1, 1, 2)}), Profile("many", {"windows": (3, 4, 10)})),
)
#: Bytes of one window.
ROW = 256


class Setup:
    """A backend on the stand-in, and an engine that doubles."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.machine = Machine()
        self.cuda = self.machine.cuda()
        self.backend = TensorRTBackend("tensorrt", self.machine.module(), self.cuda)
        self.graph = folder / "double.onnx"
        onnx.save(toy_bundle.model(SPEC, [helper.make_node("Add", ["x", "x"], ["y"])]), self.graph)

    def open(self, spec: StageSpec = SPEC, content: bytes | None = None) -> TensorRTEngine:
        data = engine_file(self.graph, spec) if content is None else content
        (self.folder / "double.engine").write_bytes(data)
        entry = StageEntry(SPEC, "double.engine", ("double.engine",), "", 0.0, 0)
        return self.backend.open_stage(self.folder, entry)


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def ones(windows: int) -> dict[str, np.ndarray]:
    return {"x": np.ones((windows, 64), np.float32)}


def test_every_batch_runs_in_its_profile_and_profiles_are_kept(setup: Setup) -> None:
    engine = setup.open()
    for count in (1, 10, 2, 3, 10, 1):
        x = np.random.default_rng(count).standard_normal((count, 64)).astype(np.float32)
        np.testing.assert_array_equal(engine.run({"x": x})["y"], 2 * x)

    assert engine._engine.contexts == 2


def test_results_stay_when_the_engine_runs_again(setup: Setup) -> None:
    engine = setup.open()
    first = engine.run(ones(1))["y"]
    engine.run({"x": np.zeros((1, 64), np.float32)})

    assert (first == 2).all()


def test_an_array_that_is_not_contiguous_arrives_as_it_is(setup: Setup) -> None:
    x = np.arange(192, dtype=np.float32).reshape(64, 3).T[:2]

    np.testing.assert_array_equal(setup.open().run({"x": x})["y"], 2 * x)


@pytest.mark.parametrize(("exact", "rows"), [(True, 9), (False, 10)])
def test_engines_share_scratch_memory_as_large_as_the_hungriest_run_needs(
    setup: Setup, exact: bool, rows: int
) -> None:
    # Newer versions say what the shapes need, older ones what the largest shapes of the profile need.
    setup.machine.exact, setup.machine.scratch = exact, 3.0
    engines = [setup.open(), setup.open()]
    for engine, windows in zip((*engines, *engines), (1, 9, 4, 2), strict=True):
        engine.run(ones(windows))

    assert setup.backend.scratch_size == 3 * rows * ROW


def test_closing_frees_all_device_memory(setup: Setup) -> None:
    engine = setup.open()
    engine.run(ones(1))
    for _ in range(2):
        engine.close()
        setup.backend.close()

    assert set(setup.cuda.alive().values()) == {0}
    with pytest.raises(BackendError, match="double was closed"):
        engine.run(ones(1))


def test_an_engine_that_is_not_what_the_manifest_declares_is_not_opened(setup: Setup) -> None:
    half = replace(SPEC, inputs=(replace(SPEC.inputs[0], dtype="float16"),))
    with pytest.raises(BackendError, match=r"inputs \{'x': 'float16'\}, the manifest declares .*float32"):
        setup.open(half)


def test_what_tensorrt_logged_is_in_the_error(setup: Setup) -> None:
    with pytest.raises(BackendError, match=r"cannot load .*double\.engine: Serialization assertion failed"):
        setup.open(content=b"")
    setup.machine.refuses["double"] = "out of shared memory"
    with pytest.raises(BackendError, match="stage double: tensorrt could not run: out of shared memory"):
        setup.open().run(ones(1))


def test_a_profiled_run_tells_the_profiler_and_describes_the_layers_of_its_profile(setup: Setup) -> None:
    engine, told = setup.open(), SimpleNamespace(times=[])
    for count in (1, 5):
        assert engine.profiled(ones(count), told) == f"JSON of profile {0 if count < 3 else 1}"
    assert told.times == ["profile 0", "profile 1"]
    np.testing.assert_array_equal(engine.run(ones(1))["y"], 2 * np.ones((1, 64)))


class OnDevice:
    """Device memory with some windows of numbers, and room for the result."""

    def __init__(self, setup: Setup, windows: int) -> None:
        self.cuda = setup.cuda
        self.x = np.random.default_rng(1).standard_normal((windows, 64)).astype(np.float32)
        self.taken, self.given = (
            DeviceTensor(self.cuda.allocate(windows * ROW), "float32", self.x.shape) for _ in range(2)
        )
        self.cuda.upload(self.taken.address, self.x)

    def run(self, engine: TensorRTEngine, start: int = 0, stop: int | None = None) -> None:
        part = (start, len(self.x) if stop is None else stop)
        engine.enqueue({"x": self.taken.part(*part)}, {"y": self.given.part(*part)})

    def result(self) -> np.ndarray:
        array = np.empty_like(self.x)
        self.cuda.download(array, self.given.address)
        self.cuda.synchronize()
        return array


@pytest.fixture
def current(setup: Setup):
    with setup.cuda.current():
        yield setup


def test_an_engine_runs_on_parts_of_device_tensors_without_a_copy_or_a_wait(current: Setup) -> None:
    engine, there = current.open(), OnDevice(current, 5)
    current.backend.reserve_scratch(engine.scratch({"x": (3, 64)}))
    before = replace(current.cuda.counts)
    there.run(engine, 0, 3)
    there.run(engine, 3, 5)

    assert current.cuda.counts == before
    assert current.machine.ran == []
    np.testing.assert_array_equal(there.result(), 2 * there.x)


def test_device_tensors_that_do_not_fit_are_refused(current: Setup) -> None:
    engine, there = current.open(), OnDevice(current, 5)
    with pytest.raises(
        BackendError, match=r"output y has room for float32 \(4, 64\), it is float32 \(5, 64\)"
    ):
        engine.enqueue({"x": there.taken}, {"y": there.given.part(0, 4)})
    with pytest.raises(BackendError, match="windows is 11, it can be 1 to 10"):
        engine.scratch({"x": (11, 64)})


def test_kept_shapes_are_recorded_after_one_more_run_and_run_from_the_recording(current: Setup) -> None:
    engine, there = current.open(), OnDevice(current, 4)
    shapes = {"x": (4, 64)}
    there.run(engine)
    engine.keep(shapes)
    assert not engine.can_be_recorded(shapes)
    there.run(engine)
    assert engine.can_be_recorded(shapes)
    current.cuda.begin_recording()
    there.run(engine)
    graph = current.cuda.end_recording()
    # Other shapes of the same profile have another context, and leave the recorded one alone.
    there.run(engine, 0, 3)
    there.x += 1
    current.cuda.upload(there.taken.address, there.x)
    current.cuda.launch(graph)
    np.testing.assert_array_equal(there.result(), 2 * there.x)
    engine.release(shapes)
    assert not engine.can_be_recorded(shapes)


def test_a_backend_with_a_gpu_says_so(setup: Setup) -> None:
    assert on_device(setup.backend) == (setup.backend, setup.cuda)


def test_the_stand_in_finds_what_cuda_would_not_tell(current: Setup) -> None:
    cuda, there = current.cuda, OnDevice(current, 4)
    with pytest.raises(DeviceFaultError, match="no multiple of 256"):
        current.open().enqueue(
            {"x": DeviceTensor(there.taken.address + 4, "float32", (3, 64))},
            {"y": there.given.part(0, 3)},
        )
    with pytest.raises(DeviceFaultError, match="nobody allocated"):
        cuda.clear(there.given.address, 5 * ROW)
    with pytest.raises(DeviceFaultError, match="while queued work uses it"):
        cuda.free(there.taken.address)
    with pytest.raises(DeviceFaultError, match="at the same time"):
        cuda.download(np.empty_like(there.x), there.taken.address, cuda.downloads)
    cuda.download(np.empty_like(there.x), there.given.address)
    with pytest.raises(DeviceFaultError, match="never written"):
        cuda.synchronize()
    cuda.free(there.taken.address)
    with pytest.raises(DeviceFaultError, match="were freed"):
        cuda.clear(there.taken.address, 4)


def test_an_event_orders_two_streams(current: Setup) -> None:
    cuda, there, event = current.cuda, OnDevice(current, 4), current.cuda.event()
    array = np.empty_like(there.x)
    cuda.record(event, cuda.stream)
    cuda.wait(cuda.downloads, event)
    cuda.download(array, there.taken.address, cuda.downloads)
    assert np.isnan(array).all()  # nothing has run yet
    cuda.record(event, cuda.downloads)
    cuda.wait_for(event)
    np.testing.assert_array_equal(array, there.x)


def test_a_run_outside_the_profiles_of_an_engine_for_two_sizes_names_them_and_the_way_out(
    setup: Setup,
) -> None:
    spec = replace(
        SPEC,
        axes=(Axis("windows", 3, 3, 6),),
        profiles=(
            Profile("landscape-640x480", {"windows": (3, 3, 3)}),
            Profile("landscape-1280x480", {"windows": (6, 6, 6)}),
        ),
    )
    (setup.folder / "double.engine").write_bytes(engine_file(setup.graph, spec))
    entry = StageEntry(spec, "double.engine", ("double.engine",), "", 0.0, 0)
    engine = setup.backend.open_stage(setup.folder, entry)
    for windows in (3, 6):
        x = np.ones((windows, 64), np.float32)
        np.testing.assert_array_equal(engine.run({"x": x})["y"], 2 * x)
    with pytest.raises(BackendError, match="no optimisation profile holds windows=4") as caught:
        engine.run({"x": np.ones((4, 64), np.float32)})
    assert "landscape-640x480: windows 3" in caught.value.message
    assert "landscape-1280x480: windows 6" in caught.value.message
    assert "--image-sizes" in str(caught.value.hint)
    with pytest.raises(BackendError, match="windows is 7, it can be 3 to 6"):
        engine.run({"x": np.ones((7, 64), np.float32)})

"""The order in which TensorRT is called, on a stand-in that keeps "device" memory in numpy.

TensorRT runs nowhere without a GPU; what can go wrong before the first kernel (wrong profile, a stale
address, too little scratch memory, an output read before the stream is done) is checked here, numbers by the
`gpu` tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from odise_trt.backends.cuda import Device
from odise_trt.backends.tensorrt import TensorRTBackend
from odise_trt.bundle.manifest import StageEntry
from odise_trt.errors import BackendError
from odise_trt.stage_spec import Axis, Profile, StageSpec, Tensor

SPEC = StageSpec(
    "double",
    (Tensor("x", "float32", ("windows", 3)),),
    (Tensor("y", "float32", ("windows", 3)),),
    (Axis("windows", 1, 4, 10),),
    (Profile("few", {"windows": (1, 1, 2)}), Profile("many", {"windows": (3, 4, 10)})),
)


@dataclass
class NumpyCuda:
    """Device memory as byte arrays; work queued on the stream is done when it is waited for."""

    device: Device = field(default_factory=lambda: Device("numpy", "8.9", "13.0", 2**30))
    stream: int = 7
    memory: dict[int, np.ndarray] = field(default_factory=dict)
    queue: list[Callable[[], None]] = field(default_factory=list)
    allocated: int = 0
    is_current: bool = False

    @contextmanager
    def current(self) -> Iterator[None]:
        before, self.is_current = self.is_current, True
        yield
        self.is_current = before

    def allocate(self, size: int) -> int:
        assert self.is_current
        self.allocated += 1
        self.memory[self.allocated * 4096] = np.zeros(size, np.uint8)
        return self.allocated * 4096

    def free(self, address: int) -> None:
        assert self.is_current
        del self.memory[address]

    def view(self, address: int, shape: tuple[int, ...]) -> np.ndarray:
        return self.memory[address][: 4 * int(np.prod(shape))].view(np.float32).reshape(shape)

    def upload(self, address: int, array: np.ndarray) -> None:
        assert self.is_current
        assert array.flags.c_contiguous

        def work() -> None:
            self.view(address, array.shape)[...] = array

        self.queue.append(work)

    def download(self, array: np.ndarray, address: int) -> None:
        def work() -> None:
            array[...] = self.view(address, array.shape)

        self.queue.append(work)

    def synchronize(self) -> None:
        while self.queue:
            self.queue.pop(0)()

    def close(self) -> None:
        assert self.is_current
        self.synchronize()


class Context:
    def __init__(self, cuda: NumpyCuda, scratch: tuple[int, int]) -> None:
        self.cuda, self.scratch = cuda, scratch
        self.profile = 0
        self.shape: tuple[int, ...] = ()
        self.addresses: dict[str, int] = {}
        self.arena = (0, 0)
        self.profiler: SimpleNamespace | None = None

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        self.profile = profile
        return stream == self.cuda.stream

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = SPEC.profiles[self.profile].ranges["windows"]
        self.shape = tuple(shape)
        return name == "x" and least <= shape[0] <= most

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return address in self.cuda.memory

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shape

    def set_device_memory(self, address: int, size: int) -> None:
        self.arena = (address, size)

    def execute_async_v3(self, stream: int) -> bool:
        assert self.cuda.is_current
        address, size = self.arena
        if size < self.scratch[self.profile] or len(self.cuda.memory[address]) < size:
            return False
        shape, addresses = self.shape, dict(self.addresses)

        def work() -> None:
            self.cuda.view(addresses["y"], shape)[...] = 2 * self.cuda.view(addresses["x"], shape)

        self.cuda.queue.append(work)
        if self.profiler is not None:
            self.profiler.times.append(f"profile {self.profile}")
        return True


class Engine:
    num_io_tensors = 2
    num_optimization_profiles = 2

    def __init__(self, cuda: NumpyCuda, scratch: tuple[int, int], dtype: str) -> None:
        self.cuda, self.scratch, self.dtype = cuda, scratch, dtype
        self.contexts = 0

    def get_tensor_name(self, index: int) -> str:
        return "xy"[index]

    def get_tensor_mode(self, name: str) -> str:
        return {"x": "INPUT", "y": "OUTPUT"}[name]

    def get_tensor_dtype(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(name=self.dtype)

    def get_device_memory_size_for_profile_v2(self, profile: int) -> int:
        return self.scratch[profile]

    def create_engine_inspector(self) -> SimpleNamespace:
        assert self.cuda.is_current
        inspector = SimpleNamespace(execution_context=None)
        inspector.get_engine_information = lambda form: (
            f"{form} of profile {inspector.execution_context.profile}"
        )
        return inspector

    def create_execution_context(self, strategy: str) -> Context:
        assert strategy == "USER_MANAGED"
        self.contexts += 1
        return Context(self.cuda, self.scratch)


class Setup:
    """A backend whose engine files say how much scratch memory they need, and of what type they are."""

    def __init__(self, folder: Path) -> None:
        self.cuda = NumpyCuda()
        self.engines: list[Engine] = []
        self.folder = folder
        module = SimpleNamespace(
            __version__="10.13",
            ILogger=type("ILogger", (), {"INTERNAL_ERROR": 0, "ERROR": 1}),
            Runtime=lambda logger: SimpleNamespace(deserialize_cuda_engine=self.deserialize),
            TensorIOMode=SimpleNamespace(INPUT="INPUT"),
            LayerInformationFormat=SimpleNamespace(JSON="JSON"),
            ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED="USER_MANAGED"),
        )
        self.backend = TensorRTBackend("tensorrt", module, self.cuda)

    def deserialize(self, data: bytes) -> Engine | None:
        assert self.cuda.is_current
        if not data:
            self.backend._logger.log(1, "Serialization assertion failed")
            return None
        few, many, dtype = data.decode().split()
        self.engines.append(Engine(self.cuda, (int(few), int(many)), dtype))
        return self.engines[-1]

    def open(self, content: str):
        (self.folder / "double.engine").write_text(content)
        entry = StageEntry(SPEC, "double.engine", ("double.engine",), "", 0.0, 0)
        return self.backend.open_stage(self.folder, entry)


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def test_every_batch_runs_in_its_profile_and_profiles_are_kept(setup: Setup) -> None:
    engine = setup.open("100 400 FLOAT")
    for count in (1, 10, 2, 3, 10, 1):
        x = np.random.default_rng(count).standard_normal((count, 3)).astype(np.float32)
        np.testing.assert_array_equal(engine.run({"x": x})["y"], 2 * x)

    assert setup.engines[0].contexts == 2


def test_results_stay_when_the_engine_runs_again(setup: Setup) -> None:
    engine = setup.open("0 0 FLOAT")
    first = engine.run({"x": np.ones((1, 3), np.float32)})["y"]
    engine.run({"x": np.zeros((1, 3), np.float32)})

    assert (first == 2).all()


def test_an_array_that_is_not_contiguous_arrives_as_it_is(setup: Setup) -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4).T[:2]

    np.testing.assert_array_equal(setup.open("0 0 FLOAT").run({"x": x})["y"], 2 * x)


def test_engines_share_one_arena_as_large_as_the_largest_needs(setup: Setup) -> None:
    small, large = setup.open("1000 1000 FLOAT"), setup.open("5000 9000 FLOAT")
    x = np.ones((1, 3), np.float32)
    for engine in (small, large, small):
        engine.run({"x": x})
    large.run({"x": np.ones((9, 3), np.float32)})
    small.run({"x": x})

    arenas = [len(memory) for memory in setup.cuda.memory.values() if len(memory) >= 1000]
    assert arenas == [9000]


def test_closing_frees_all_device_memory(setup: Setup) -> None:
    engine = setup.open("1000 1000 FLOAT")
    engine.run({"x": np.ones((1, 3), np.float32)})
    for _ in range(2):
        engine.close()
        setup.backend.close()

    assert setup.cuda.memory == {}
    with pytest.raises(BackendError, match="double was closed"):
        engine.run({"x": np.ones((1, 3), np.float32)})


def test_an_engine_that_is_not_what_the_manifest_declares_is_not_opened(setup: Setup) -> None:
    with pytest.raises(BackendError, match=r"inputs \{'x': 'float16'\}, the manifest declares .*float32"):
        setup.open("0 0 HALF")


def test_what_tensorrt_logged_is_in_the_error(setup: Setup) -> None:
    with pytest.raises(BackendError, match=r"cannot load .*double\.engine: Serialization assertion failed"):
        setup.open("")


def test_a_profiled_run_tells_the_profiler_and_describes_the_layers_of_its_profile(setup: Setup) -> None:
    engine, told = setup.open("0 0 FLOAT"), SimpleNamespace(times=[])
    for count in (1, 5):
        described = engine.profiled({"x": np.ones((count, 3), np.float32)}, told)
        assert described == f"JSON of profile {0 if count < 3 else 1}"
    assert told.times == ["profile 0", "profile 1"]
    np.testing.assert_array_equal(engine.run({"x": np.ones((1, 3), np.float32)})["y"], 2 * np.ones((1, 3)))

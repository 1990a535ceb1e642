"""TensorRT and TensorRT for RTX. Both share one implementation, which takes the module of the flavour.

It uses the API that versions 10.13, 11 and RTX 1.7 share: tensors by name, no bindings by index. Activation
memory is managed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BackendError
from .base import Options, StageFiles
from .cuda import Cuda, device_index, open_cuda
from .engine_mismatch import engine_mismatch
from .registry import BackendEntry
from .tensorrt_engine import Flavour, TensorRTEngine
from .tensorrt_refit import refit

if TYPE_CHECKING:
    import tensorrt as trt


def open_tensorrt(entry: BackendEntry, options: Options) -> TensorRTBackend:
    """Load a flavour on a GPU ("cuda", "cuda:1").

    Raises:
        BackendError: the flavour or cuda-python is not installed, or there is no GPU with a driver.
    """
    index = device_index(options.device)
    return TensorRTBackend(entry.name, entry.load(), open_cuda(index), options.host_code)


class TensorRTBackend:
    """Opens serialized engines of one TensorRT flavour on one GPU.

    Its engines run one after the other. They share one stream and one piece of scratch memory, as large as
    the hungriest engine needs.

    Args:
        host_code: version-compatible engines may run the lean runtime that they bring.

    Attributes:
        name: the flavour.
        cuda: the GPU.
    """

    def __init__(self, name: str, module: Any, cuda: Cuda, host_code: bool = False) -> None:
        self.name = name
        self.cuda = cuda
        self._flavour = Flavour(name, module, cuda)
        try:
            self._logger = collecting_logger(module, self._flavour.messages)
            with cuda.current():
                self._runtime: trt.Runtime | None = module.Runtime(self._logger)
                if host_code:
                    self._runtime.engine_host_code_allowed = True
        # Without a usable driver the binding raises TypeError, other failures RuntimeError.
        except Exception as error:
            with cuda.current():
                cuda.close()
            raise BackendError(
                f"{name} {module.__version__} cannot start: {self._flavour.said(error)}"
            ) from error

    def mismatch(self, built: Mapping[str, Any]) -> str | None:
        """Compare versions, and the GPU architecture, driver and system where the manifest names them."""
        return engine_mismatch(built, self._flavour.module.__version__, self.cuda.device)

    def open_stage(self, folder: Path, entry: StageFiles) -> TensorRTEngine:
        """Load one stage, see `Backend.open_stage`."""
        if self._runtime is None:
            raise BackendError(f"backend {self.name} was closed")
        path = folder / entry.file
        self._flavour.messages.clear()
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BackendError(f"{path} cannot be read: {error.strerror}") from error
        with self.cuda.current():
            engine = self._runtime.deserialize_cuda_engine(content)
        if engine is None:
            raise BackendError(
                f"{self.name} cannot load {path}: {self._flavour.said()}", "build the stage again"
            )
        if entry.weights_from is not None:
            # Before any context is made: contexts may keep what they find in the engine.
            with self.cuda.current():
                refit(self._flavour, engine, self._logger, path, folder / entry.weights_from)
        opened = TensorRTEngine(self._flavour, engine, entry.spec)
        opened.check_declaration(path)
        return opened

    def describe(self) -> dict[str, str]:
        """Return version, GPU and driver."""
        device = self.cuda.device
        return {
            "backend": f"{self.name} {self._flavour.module.__version__}",
            "device": device.name,
            "compute capability": device.compute_capability,
            "driver": f"CUDA {device.driver}",
            "memory": f"{device.memory_bytes / 2**30:.1f} GiB",
        }

    @property
    def no_graphs(self) -> None:
        """None: each engine says whether it can be recorded."""
        return None

    @property
    def records_host(self) -> bool:
        """True: an execution context keeps what it copies from."""
        return True

    def reserve_scratch(self, size: int) -> int:
        """Make sure that the engines share this scratch memory, see `DeviceBackend.reserve_scratch`."""
        return self._flavour.scratch.reserve(max(size, 1))

    @property
    def scratch_size(self) -> int:
        """The bytes of scratch memory that are reserved."""
        return self._flavour.scratch.size

    def close(self) -> None:
        """Free the runtime, the scratch memory and the streams."""
        if self._runtime is not None:
            with self.cuda.current():
                self._runtime = None
                self._flavour.scratch.close()
                self.cuda.close()


def collecting_logger(flavour: Any, errors: list[str]) -> Any:
    """Make a logger that collects error messages only, to be raised with the exception they explain.

    Args:
        flavour: the module `tensorrt` or `tensorrt_rtx`.
        errors: the list that receives the messages. It is also the logger's attribute `errors`.
    """

    class Logger(flavour.ILogger):
        def __init__(self) -> None:
            flavour.ILogger.__init__(self)
            self.errors = errors

        def log(self, severity: Any, message: str) -> None:
            if severity in (flavour.ILogger.INTERNAL_ERROR, flavour.ILogger.ERROR):
                errors.append(message.strip())

    return Logger()

"""The interface of a backend whose engines take and give tensors of a device, without copies.

It stands beside `Backend` and `Engine`: such a backend has both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, cast

from ..errors import BackendError
from ..stage_spec import StageSpec, bytes_of
from .base import Backend, Engine, check_inputs

if TYPE_CHECKING:
    from .cuda import Cuda


@dataclass(frozen=True)
class DeviceTensor:
    """A contiguous tensor in the memory of a device.

    Attributes:
        address: its first byte.
        dtype: as in declarations: "float32", "float16", "int64", "int32" or "uint8".
        shape: its sizes.
    """

    address: int
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return bytes_of(self.dtype, self.shape)

    @property
    def ndim(self) -> int:
        """The number of its dimensions."""
        return len(self.shape)

    def part(self, start: int, stop: int) -> DeviceTensor:
        """Return the part from `start` to `stop` along the first dimension. It shares the memory."""
        row = bytes_of(self.dtype, self.shape[1:])
        return replace(self, address=self.address + start * row, shape=(stop - start, *self.shape[1:]))


class DeviceEngine(Engine, Protocol):
    """An opened stage that also runs on tensors of the device."""

    def enqueue(self, inputs: Mapping[str, DeviceTensor], outputs: Mapping[str, DeviceTensor]) -> None:
        """Queue one run on the backend's stream, and return before it has run.

        Nothing is copied, allocated or waited for, if the scratch memory that `scratch` names was reserved.

        Args:
            inputs, outputs: a tensor for every declared one, with sizes that the declaration allows. Inputs
                are read, and outputs written, when the stream gets there.

        Raises:
            BackendError: a tensor does not fit the declaration, or the engine could not be queued. Errors of
                the run itself are raised where the stream is waited for.
        """
        ...

    def scratch(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """Return the bytes of scratch memory that a run needs. 0: none, or the engine manages its own.

        Args:
            shapes: the shape of every input.

        Raises:
            BackendError: no profile holds these sizes.
        """
        ...

    def keep(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Prepare for recording runs with these input shapes. The next such run must not be recorded yet.

        Each call needs a `release` when the recording is gone.
        """
        ...

    def release(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Free what `keep` made. No recording may use it, and no queued work."""
        ...

    def can_be_recorded(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Whether runs with these input shapes can be recorded now, after `keep` and one more run."""
        ...


class DeviceBackend(Backend, Protocol):
    """A backend that opens such engines. They run in order on the stream of `cuda`."""

    @property
    def cuda(self) -> Cuda | None:
        """The device. None: the engines run on the CPU, and take arrays of the host only."""
        ...

    @property
    def no_graphs(self) -> str | None:
        """Why no engine's runs can be recorded into CUDA graphs. None: they can, or each engine says so."""
        ...

    @property
    def records_host(self) -> bool:
        """Whether copies from the host may be recorded: the engines keep what they copy as it is."""
        ...

    @property
    def scratch_size(self) -> int:
        """The bytes of scratch memory that are reserved."""
        ...

    def reserve_scratch(self, size: int) -> int:
        """Make sure that the engines have this scratch memory together, and return its address.

        Growing moves it: it waits for the stream, and what was recorded before is of no use any more.

        Raises:
            DeviceMemoryError: the device has too little memory.
        """
        ...


def on_device(backend: Backend) -> tuple[DeviceBackend, Cuda] | None:
    """Return the backend and its device, if its engines take tensors of one. None: they do not."""
    cuda = getattr(backend, "cuda", None)
    return None if cuda is None else (cast(DeviceBackend, backend), cuda)


def check_tensors(
    spec: StageSpec, inputs: Mapping[str, DeviceTensor], outputs: Mapping[str, DeviceTensor]
) -> dict[str, int]:
    """Compare the tensors of a run with the stage's declaration, and return the size of every axis.

    Raises:
        BackendError: they differ.
    """
    sizes = check_inputs(spec, inputs)
    for tensor in spec.outputs:
        given = outputs.get(tensor.name)
        shape = tensor.resolve(sizes)
        if given is None or given.dtype != tensor.dtype or given.shape != shape:
            found = "nothing" if given is None else f"{given.dtype} {given.shape}"
            raise BackendError(
                f"stage {spec.name}: output {tensor.name} has room for {found}, it is {tensor.dtype} {shape}"
            )
    return sizes

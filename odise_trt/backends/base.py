"""The interface of a backend: it opens the file of a stage and runs it on arrays."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import BackendError
from ..stage_spec import Profile, StageSpec, learn_sizes

if TYPE_CHECKING:
    # `--help` reads the registry, and should not wait for numpy.
    import numpy as np

_OTHER_SIZES = "resize the picture, or build the bundle for this size, too: odise-trt build --image-sizes"


@dataclass(frozen=True)
class Options:
    """How a backend is opened.

    Attributes:
        precision: of the engines that it will open, one of `stage_spec.PRECISIONS`.
        device: "cpu", "cuda" or "cuda:1".
        threads: CPU threads for computing.
        host_code: engines may bring code for the processor, which runs in this process.
    """

    precision: str
    device: str
    threads: int
    host_code: bool = False


@dataclass(frozen=True)
class Health:
    """Whether a backend's installation works, and what it lacks.

    Attributes:
        works: whether it can run engines.
        detail: its version and what it offers, or what is wrong.
        needs: how to repair it, or how to get more out of it.
    """

    works: bool
    detail: str
    needs: str = ""


class Shaped(Protocol):
    """An array, or a tensor of a device."""

    @property
    def dtype(self) -> Any:
        """Its dtype. Its text is that of declarations."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""
        ...

    @property
    def ndim(self) -> int:
        """The number of its dimensions."""
        ...


class StageFiles(Protocol):
    """The files of one stage and their declaration. An entry of a bundle's manifest fits this protocol."""

    @property
    def spec(self) -> StageSpec:
        """The declaration, at the precision of the files."""
        ...

    @property
    def file(self) -> str:
        """Name of the file to open."""
        ...

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files, external data too."""
        ...

    @property
    def precision(self) -> str | None:
        """The precision that the stage computes in. None: that of the bundle."""
        ...

    @property
    def weights_from(self) -> str | None:
        """Name of the graph whose weights the engine takes when it is opened. None: it has them."""
        ...


class Engine(Protocol):
    """An opened stage."""

    @property
    def spec(self) -> StageSpec:
        """The stage's declaration, at the precision it was built in."""
        ...

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the stage once.

        Args:
            inputs: an array for every declared input, in its dtype, with sizes the declaration allows.

        Returns:
            An array for every declared output.

        Raises:
            BackendError: an input does not fit the declaration, or the engine failed.
        """
        ...

    def close(self) -> None:
        """Free the engine and its memory. Closing twice is allowed."""
        ...


class Backend(Protocol):
    """Opens stages. `open_backend` makes it. Engines must be closed before their backend."""

    @property
    def name(self) -> str:
        """The backend's name, as in the registry and in manifests."""
        ...

    def mismatch(self, built: Mapping[str, Any]) -> str | None:
        """Return why engines cannot run here, or None if they can. `built` is the manifest's `backend`."""
        ...

    def open_stage(self, folder: Path, entry: StageFiles) -> Engine:
        """Load one stage. Its files are in `folder`.

        Raises:
            BackendError: the engine cannot be loaded, or is not what the manifest declares.
        """
        ...

    def describe(self) -> dict[str, str]:
        """Describe in words what runs the engines: version, device, driver, threads."""
        ...

    def close(self) -> None:
        """Free what the backend holds. Closing twice is allowed."""
        ...


def host_os() -> str:
    """Return the operating system and processor that engines are tied to, for example "linux-x86_64"."""
    return f"{platform.system()}-{platform.machine()}".lower()


def check_inputs(spec: StageSpec, inputs: Mapping[str, Shaped]) -> dict[str, int]:
    """Compare the inputs of a call with the stage's declaration.

    Returns:
        The size of every axis that the inputs determine: {"windows": 4, "side": 512}.

    Raises:
        BackendError: names, dtypes, ranks or sizes differ from the declaration. The message says how.
    """
    declared = {tensor.name for tensor in spec.inputs}
    if inputs.keys() != declared:
        missing = ", ".join(sorted(declared - inputs.keys())) or "none"
        unknown = ", ".join(sorted(inputs.keys() - declared)) or "none"
        raise BackendError(f"stage {spec.name}: inputs missing: {missing}; not declared: {unknown}")
    sizes: dict[str, int] = {}
    for tensor in spec.inputs:
        array = inputs[tensor.name]
        if array.dtype != tensor.dtype:
            raise BackendError(
                f"stage {spec.name}: input {tensor.name} is {array.dtype}, declared {tensor.dtype}"
            )
        learn_sizes(spec, tensor, array.shape, sizes)
    for axis, size in sizes.items():
        _check_axis(spec, axis, size)
    return sizes


def choose_profile(spec: StageSpec, sizes: Mapping[str, int]) -> int:
    """Return the index of the declared profile that fits the sizes and is tuned nearest to them.

    Raises:
        BackendError: no profile holds these sizes.
    """
    fitting = []
    for index, profile in enumerate(spec.profiles):
        ranges = [(size, profile.ranges[axis]) for axis, size in sizes.items() if axis in profile.ranges]
        if all(least <= size <= most for size, (least, _, most) in ranges):
            distance = sum(abs(math.log(size / typical)) for size, (_, typical, _) in ranges)
            fitting.append((distance, index))
    if not fitting:
        what = ", ".join(f"{axis}={size}" for axis, size in sizes.items())
        have = "".join(f"\n  {profile.name}: {_listed(profile)}" for profile in spec.profiles) or "\n  none"
        raise BackendError(
            f"stage {spec.name}: no optimisation profile holds {what}; there are{have}", _OTHER_SIZES
        )
    return min(fitting)[1]


def check_axes(spec: StageSpec, sizes: Mapping[str, int]) -> None:
    """Compare sizes with the axes that a stage has: before work whose result it would not take.

    Raises:
        BackendError: it does not take one of them.
    """
    for axis in spec.axes:
        if axis.name in sizes:
            _check_axis(spec, axis.name, sizes[axis.name])


def _listed(profile: Profile) -> str:
    return ", ".join(
        f"{axis} {least}" if least == most else f"{axis} {least}-{most}"
        for axis, (least, _, most) in profile.ranges.items()
    )


def _check_axis(spec: StageSpec, name: str, size: int) -> None:
    axis = spec.axis(name)
    if not axis.minimum <= size <= axis.maximum:
        can = f"{axis.minimum} to {axis.maximum}" if axis.minimum < axis.maximum else f"{axis.minimum} only"
        raise BackendError(f"stage {spec.name}: {name} is {size}, it can be {can}", _OTHER_SIZES)
    if size % axis.multiple:
        raise BackendError(f"stage {spec.name}: {name} is {size}, not a multiple of {axis.multiple}")

"""The declaration of a stage as data: names, shapes, dtypes, dynamic axes, profiles and tolerances.

The wrappers in `export/stages` declare themselves once with these classes. The exporter, the engine
builders, the parity checks, the manifest and the documentation read the declaration. This module does not
import torch, since the runtime reads the same declaration back from a bundle's manifest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from .errors import BackendError, BundleError
from .files.typed_json import MisfitError, choice, within

#: dtype of tensors that depend on the precision of the build, see `PRECISIONS`.
COMPUTE = "compute"
#: Precision of a build -> dtype of the tensors between its stages. In bf16 the engine rounds inside a stage.
#: In int8 and fp8 the graph does, around some layers of some stages; the rest is as in fp16.
PRECISIONS = {"fp32": "float32", "fp16": "float16", "bf16": "float32", "int8": "float16", "fp8": "float16"}
#: The precisions whose graphs quantize operands of layers.
QUANTIZED = ("int8", "fp8")

_BYTES = {"float32": 4, "float16": 2, "int64": 8, "int32": 4, "uint8": 1}
_DIMENSION = re.compile(r"([a-z_]+)(?:/([1-9]\d{0,8}))?")
#: Size in a manifest, limited to what a tensor can have, so that arithmetic with sizes is safe.
Size = Annotated[int, within(1, 2**31 - 1)]


@dataclass(frozen=True)
class Axis:
    """A size that changes from call to call.

    Attributes:
        name: the name in the shapes, as `height` or (divided) `height/4`.
        minimum, typical, maximum: the range that must work, and the size to tune for.
        multiple: sizes are always a multiple of this.
    """

    name: str
    minimum: Size
    typical: Size
    maximum: Size
    multiple: Size = 1


@dataclass(frozen=True)
class Tensor:
    """One input or output of a stage.

    Attributes:
        name: the field's standard term, the same in the reference, the ONNX graph and the manifest.
        dtype: "float32", "float16", "int64", "int32", "uint8", or `COMPUTE`.
        shape: sizes and named axes, `("windows", 3, "side", "side")`, `(1, 100, "height/4", "width/4")`.
    """

    name: str
    dtype: Annotated[str, choice("float32", "float16", "int64", "int32", "uint8", COMPUTE)]
    shape: tuple[Size | str, ...]

    def resolve(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Return the shape for given axis sizes.

        Raises:
            KeyError: an axis of the shape has no size.
            ValueError: a size is not divisible as the shape requires.
        """
        return tuple(_size(dimension, sizes) for dimension in self.shape)


@dataclass(frozen=True)
class Profile:
    """Ranges of axes that one set of engine kernels is tuned for: axis -> (minimum, typical, maximum)."""

    name: str
    ranges: Mapping[str, tuple[Size, Size, Size]]


@dataclass(frozen=True)
class Tolerance:
    """Largest relative L2 distance to the fp32 reference, per precision of the stage.

    A bf16 number has 8 bits of mantissa, three fewer than fp16, so its rounding is eight times as coarse.
    Quantized layers add noise to each other, so their tolerance says only that a graph is not wrong. What
    they lose is measured: docs/quantization.md.
    """

    fp32: float = 1e-4
    fp16: float = 1e-2
    bf16: float = 5e-2
    int8: float = 1e-1
    fp8: float = 2e-1

    def of(self, precision: str) -> float:
        """Return the tolerance of a stage that computes in `precision`, one of `PRECISIONS`."""
        limits = {"fp32": self.fp32, "fp16": self.fp16, "bf16": self.bf16, "int8": self.int8, "fp8": self.fp8}
        return limits[precision]


@dataclass(frozen=True)
class StageSpec:
    """The whole declaration of a stage."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    axes: tuple[Axis, ...]
    profiles: tuple[Profile, ...]
    tolerance: Tolerance = Tolerance()

    def at(self, precision: str) -> StageSpec:
        """Return the stage with `COMPUTE` replaced by the dtype of `precision`, one of `PRECISIONS`."""
        dtype = PRECISIONS[precision]

        def concrete(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(replace(t, dtype=dtype) if t.dtype == COMPUTE else t for t in tensors)

        return replace(self, inputs=concrete(self.inputs), outputs=concrete(self.outputs))

    def at_most(self, name: str, most: int) -> StageSpec:
        """Return the stage with the sizes of one axis limited to `most`, also in its profiles.

        A stage without that axis stays as it is. The axis must not be limited below its minimum.
        """
        axes = tuple(
            replace(axis, typical=min(axis.typical, most), maximum=min(axis.maximum, most))
            if axis.name == name
            else axis
            for axis in self.axes
        )
        profiles = []
        for profile in self.profiles:
            ranges = dict(profile.ranges)
            if name in ranges:
                least, typical, largest = ranges[name]
                ranges[name] = (min(least, most), min(typical, most), min(largest, most))
            profiles.append(Profile(profile.name, ranges))
        return replace(self, axes=axes, profiles=tuple(profiles))

    def known(self, tensor: Tensor) -> tuple[int | str, ...]:
        """Return the shape of a tensor with the sizes of axes that have one size only."""
        fixed = {axis.name: axis.minimum for axis in self.axes if axis.minimum == axis.maximum}
        return tuple(
            _size(dimension, fixed) if _axis_of(str(dimension)) in fixed else dimension
            for dimension in tensor.shape
        )

    def axis(self, name: str) -> Axis:
        """Return the axis called `name`.

        Raises:
            BundleError: the stage has no such axis.
        """
        for axis in self.axes:
            if axis.name == name:
                return axis
        have = ", ".join(axis.name for axis in self.axes) or "none"
        raise BundleError(
            f"stage {self.name} has no axis {name!r} (it has: {have})", "build the bundle again"
        )

    def check(self) -> None:
        """Raise MisfitError unless shapes and profiles name axes of the stage and all sizes are in order."""
        axes = {axis.name for axis in self.axes}
        for tensor in (*self.inputs, *self.outputs):
            for dimension in tensor.shape:
                if isinstance(dimension, str) and _axis_of(dimension) not in axes:
                    raise MisfitError(
                        self.name, f"has {tensor.name} with {dimension!r:.60}, which is no axis"
                    )
        ordered = [(axis.name, (axis.minimum, axis.typical, axis.maximum)) for axis in self.axes]
        for profile in self.profiles:
            ordered += profile.ranges.items()
        for name, (least, typical, most) in ordered:
            if name not in axes or not least <= typical <= most:
                raise MisfitError(self.name, f"has {name} from {least} to {most}, typically {typical}")


def learn_sizes(spec: StageSpec, tensor: Tensor, shape: Sequence[int], sizes: dict[str, int]) -> None:
    """Add the sizes of the axes of one input to those that are known.

    Args:
        spec: the declaration of the stage.
        tensor: the declaration of the input.
        shape: its shape.
        sizes: axis -> size, from the inputs before it.

    Raises:
        BackendError: the shape does not fit the declaration, or contradicts `sizes`. The message says how.
    """
    if len(shape) != len(tensor.shape):
        raise _misfit(spec, tensor, shape)
    for found, dimension in zip(shape, tensor.shape, strict=True):
        if isinstance(dimension, int):
            if found != dimension:
                raise _misfit(spec, tensor, shape)
            continue
        axis, divisor = split_dimension(dimension)
        if sizes.setdefault(axis, found * divisor) != found * divisor:
            raise _misfit(spec, tensor, shape, f"; {axis} is {sizes[axis]} in the inputs before it")


def _misfit(spec: StageSpec, tensor: Tensor, shape: Sequence[int], why: str = "") -> BackendError:
    declared = ", ".join(str(dimension) for dimension in tensor.shape)
    return BackendError(
        f"stage {spec.name}: input {tensor.name} has shape {tuple(shape)}, declared ({declared}){why}"
    )


def bytes_of(dtype: str, shape: Iterable[int]) -> int:
    """Return the bytes of a tensor with a dtype of `Tensor` (but `COMPUTE`) and these sizes."""
    return math.prod(shape) * _BYTES[dtype]


def _axis_of(dimension: str) -> str | None:
    match = _DIMENSION.fullmatch(dimension)
    return match and match[1]


def _size(dimension: int | str, sizes: Mapping[str, int]) -> int:
    if isinstance(dimension, int):
        return dimension
    axis, divisor = split_dimension(dimension)
    if sizes[axis] % divisor:
        raise ValueError(f"{axis}={sizes[axis]} is not a multiple of {divisor} ({dimension})")
    return sizes[axis] // divisor


def split_dimension(dimension: str) -> tuple[str, int]:
    """Split a dimension: `"height/4"` -> `("height", 4)`, `"windows"` -> `("windows", 1)`."""
    match = _DIMENSION.fullmatch(dimension)
    if match is None:
        raise ValueError(f"not a dimension: {dimension!r}")
    return match[1], int(match[2] or 1)

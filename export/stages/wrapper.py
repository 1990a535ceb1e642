"""The base class of stages: a part of the model with flat inputs and outputs, and their declaration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from odise_trt.pipeline import Step
from odise_trt.stage_spec import QUANTIZED, StageSpec
from reference.preset import Preset

from .image_sizes import ImageSize, for_images

if TYPE_CHECKING:
    from reference.model import ODISE


class StageWrapper(nn.Module, ABC):
    """A part of the model to export.

    A subclass takes its modules from the model in `__init__` and declares its tensors in `declare`. Its
    `forward` takes the declared inputs and returns the declared outputs, in that order.

    Attributes:
        scenes: number of example inputs per size in parity checks. Use more than one if the stage makes hard
            decisions, see `turned`.
        float32: names (with `*`) of submodules whose weights, and so whose arithmetic, stay float32 in an
            fp16 build. In every stage, normalisations, softmax and the values that the model itself raises to
            float32 are float32 too, see `export.precision`.
        example_stages: the stages whose weights `examples` needs.
        islands: the float32 parts of an fp16 build in words, for the manifest.
        fp16, bf16: whether the stage computes in fp16 in an fp16 build, and in bf16 in a bf16 build. If not,
            it computes in fp32 there.
        quantized: whether layers of it are quantized in int8 and fp8 builds, see `export.quantizing`. If not,
            it computes there as in an fp16 build.
    """

    scenes: ClassVar[int] = 1
    float32: ClassVar[tuple[str, ...]] = ()
    islands: ClassVar[tuple[str, ...]] = ("normalisation statistics", "softmax")
    example_stages: ClassVar[tuple[str, ...]] = ()
    fp16: ClassVar[bool] = True
    bf16: ClassVar[bool] = True
    quantized: ClassVar[bool] = False

    @classmethod
    def computes_in(cls, precision: str) -> str:
        """Return the precision that the stage computes in, in a build of `precision`."""
        if precision in QUANTIZED:
            return precision if cls.quantized else cls.computes_in("fp16")
        computes = {"fp32": True, "fp16": cls.fp16, "bf16": cls.bf16}[precision]
        return precision if computes else "fp32"

    @abstractmethod
    def __init__(self, model: ODISE) -> None:
        super().__init__()

    @classmethod
    @abstractmethod
    def declare(cls, preset: Preset) -> StageSpec:
        """Declare names, shapes, dtypes, axes, profiles and tolerance of the stage for `preset`."""

    @classmethod
    def spec(
        cls,
        preset: Preset,
        precision: str,
        max_windows: int | None = None,
        images: Sequence[ImageSize] = (),
    ) -> StageSpec:
        """Return the declaration of the stage in a bundle.

        Args:
            preset: the model.
            precision: the precision that the stage computes in.
            max_windows: the most windows in a run. Stages that take all windows of an image have no limit.
            images: the only sizes of pictures. Empty: any.
        """
        spec, in_parts = cls.declare(preset).at(precision), not cls.sizes(preset)
        if max_windows is not None and in_parts:
            spec = spec.at_most("windows", max_windows)
        return for_images(spec, preset, images, in_parts=in_parts)

    def undecided(self, *inputs: Tensor) -> Mapping[str, Tensor]:
        """Return where rounding decides for these inputs: integer output -> bool tensor of its shape.

        There, and only there, a graph may give another integer than the reference.
        """
        return {}

    def turned(self, rounding: float, *inputs: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        """Return the outputs with all hard decisions turned as rounding might: one way, and the other way.

        Empty: the stage takes none inside. Those of its results are `undecided`.

        Args:
            rounding: of the numbers that are decided on, relative to their root mean square.
        """
        return ()

    @classmethod
    def step(cls, preset: Preset) -> Step | None:
        """Return how the stage runs in the pipeline. None: it is not part of it."""
        return None

    @classmethod
    def sizes(cls, preset: Preset) -> tuple[Mapping[str, int], ...]:
        """Return the axis sizes to check the stage at. Empty: those of `export.parity.check_sizes`.

        For stages whose sizes depend on each other.
        """
        return ()

    @classmethod
    @abstractmethod
    def examples(
        cls, model: ODISE, sizes: Mapping[str, int], generator: torch.Generator
    ) -> tuple[Tensor, ...]:
        """Make inputs like those of a real run, in the declared order, float32 (or int64).

        Args:
            model: for stages that read the outputs of other stages.
            sizes: one size per axis of the stage.
            generator: on the CPU. The same seed gives the same inputs.
        """

"""The base class of stages: a part of the model with flat inputs and outputs that declares itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from odise_trt.stage_spec import StageSpec
from reference.preset import Preset

if TYPE_CHECKING:
    from reference.model import ODISE


class StageWrapper(nn.Module, ABC):
    """A part of the model as it is exported.

    A subclass takes what it needs from the model in `__init__`, declares its tensors in `declare`, and
    has a `forward` that takes the declared inputs and returns the declared outputs, in that order.

    Attributes:
        scenes: example inputs per size in parity checks, an odd number; the median of them counts. More than
            one where a stage makes hard decisions, see `export.parity`.
        float32: names (with `*`) of submodules whose weights, and so whose arithmetic, stay float32 in
            an fp16 build. Normalisations, softmax and whatever the model itself raises to float32 do so
            everywhere; see `export.precision`.
        islands: the float32 parts of an fp16 build in words, for the manifest.
    """

    scenes: ClassVar[int] = 1
    float32: ClassVar[tuple[str, ...]] = ()
    islands: ClassVar[tuple[str, ...]] = ("normalisation statistics", "softmax")

    @abstractmethod
    def __init__(self, model: ODISE) -> None:
        super().__init__()

    @classmethod
    @abstractmethod
    def declare(cls, preset: Preset) -> StageSpec:
        """Names, shapes, dtypes, axes, profiles and tolerance of the stage for `preset`."""

    @classmethod
    @abstractmethod
    def examples(
        cls, model: ODISE, sizes: Mapping[str, int], generator: torch.Generator
    ) -> tuple[Tensor, ...]:
        """Inputs like those of a real run, in the declared order, float32 (or int64).

        Args:
            model: for stages that read what other stages make.
            sizes: one size per axis of the stage.
            generator: on the CPU; the same seed gives the same inputs.
        """

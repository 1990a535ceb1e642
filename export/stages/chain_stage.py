"""The base class of stages between the model's parts: they have no weights, and compute in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .wrapper import StageWrapper

if TYPE_CHECKING:
    from reference.model import ODISE


class ChainStage(StageWrapper):
    """A stage that joins others. Its graph states what the CPU chain does with numpy, which is its oracle."""

    fp16 = False
    bf16 = False

    def __init__(self, model: ODISE) -> None:
        super().__init__(model)

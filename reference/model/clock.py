"""The interface of a clock that times the stages of a model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

#: clock(stage) -> context manager around the work of the stage; `odise_trt.executor.Clock` is one.
Clock = Callable[[str], AbstractContextManager[None]]


def untimed(stage: str) -> AbstractContextManager[None]:
    """Measure nothing; the default clock."""
    return nullcontext()

"""Who measures a model passes a clock through it: a context manager per stage."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

#: clock(stage) -> context manager around the work of the stage; `odise_trt.executor.Clock` is one.
Clock = Callable[[str], AbstractContextManager[None]]


def untimed(stage: str) -> AbstractContextManager[None]:
    """The clock of those who measure nothing."""
    return nullcontext()

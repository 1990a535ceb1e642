"""Moments in the work of a device, and the seconds between two of them."""

from __future__ import annotations

import time
from typing import Any, Protocol

import torch

from odise_trt.backends.cuda import Cuda


class Marks(Protocol):
    """Marks moments between pieces of work that are queued."""

    def mark(self) -> Any:
        """Mark the moment at which all is done that was queued so far."""
        ...

    def seconds(self, begin: Any, end: Any) -> float:
        """Return the seconds between two moments. It may wait for them."""
        ...


class EventMarks:
    """Events of CUDA on the stream of the engines. The host waits for nothing in between."""

    def __init__(self, cuda: Cuda) -> None:
        self._stream = torch.cuda.ExternalStream(cuda.stream, device=torch.device("cuda", cuda.index))

    def mark(self) -> Any:
        """Record an event, see `Marks.mark`."""
        event = torch.cuda.Event(enable_timing=True)
        event.record(self._stream)
        return event

    def seconds(self, begin: Any, end: Any) -> float:
        """Return the time between two events."""
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1000


class ClockMarks:
    """The clock of the host, for a device that is a processor. Every mark waits for what was queued."""

    def __init__(self, cuda: Cuda | None = None) -> None:
        self._cuda = cuda

    def mark(self) -> float:
        """Wait, and read the clock, see `Marks.mark`."""
        if self._cuda is not None:
            self._cuda.synchronize()
        return time.perf_counter()

    def seconds(self, begin: float, end: float) -> float:
        """Return the difference."""
        return end - begin


def marks_on(cuda: Cuda, device: torch.device) -> Marks:
    """Return the marks for a device."""
    return EventMarks(cuda) if device.type == "cuda" else ClockMarks(cuda)

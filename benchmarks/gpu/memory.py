"""Memory of a device: of a GPU all that is in use, by whatever; on a CPU what this process holds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from benchmarks.contest.memory import resident

#: Seconds between two looks. Recordings of the runtime allow other threads to ask for free memory.
_EVERY = 0.02


class Memory:
    """Bytes in use above those at the start.

    On a GPU the context of CUDA is there at the start, and its bytes (some 0.5 GB) do not count.

    Attributes:
        of: what is measured, in words.
        peak: the most bytes that were seen by `watched`.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        on_gpu = device.type == "cuda"
        self.of = "the GPU, without the context of CUDA" if on_gpu else "resident memory of the process"
        self.peak = 0
        self._start = self._in_use()

    def used(self) -> int:
        """Return the bytes in use above those at the start."""
        found = self._in_use() - self._start
        self.peak = max(self.peak, found)
        return found

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look again and again in the block, from a thread. Measure no times in it."""
        stopped = threading.Event()

        def watch() -> None:
            while not stopped.wait(_EVERY):
                self.used()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()
            self.used()

    def _in_use(self) -> int:
        if self._device.type != "cuda":
            return resident()
        free, total = torch.cuda.mem_get_info(self._device)
        return int(total - free)

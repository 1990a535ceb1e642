"""Recorded CUDA graphs: one launch instead of some hundred."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass

from ..backends.cuda import Cuda
from ..errors import BackendError
from .program import Program
from .turns import Turns

#: Recording is for one thread at a time, while no other one queues engines: cuDNN failed in a recording while
#: another segmenter of the process ran (seen with onnxruntime-gpu 1.31).
_TURNS = Turns()


def record(program: Program, cuda: Cuda, *, host_allowed: bool) -> int:
    """Record a program that has just been queued, and return its graph. Recording runs nothing.

    Args:
        program: was prepared by `Program.keep`, and can be recorded.
        cuda: the device.
        host_allowed: see `Cuda.end_recording`.

    Raises:
        BackendError: an engine did what a graph cannot hold. Nothing of it is left to the next call.
    """
    with _TURNS.alone():
        try:
            cuda.begin_recording()
            try:
                program.queue(cuda)
            except BaseException:
                with suppress(BackendError):
                    cuda.free_graph(cuda.end_recording())
                raise
            return cuda.end_recording(host_allowed)
        except BackendError:
            # CUDA keeps the error for the next call of the library that failed. What is queued once more
            # takes it. It writes what it wrote before, and nothing that the picture still needs.
            with suppress(BackendError):
                program.queue_first(cuda)
            raise


@dataclass
class _Recording:
    program: Program
    graph: int | None = None
    last_use: int = 0


class Recordings:
    """Programs that were recorded. Those that were used least recently make room.

    A program is recorded after it ran once more with contexts of its own, see `DeviceEngine.keep`.

    Attributes:
        refusal: why nothing is recorded. None: programs are.
    """

    def __init__(self, cuda: Cuda, most: int, refusal: str | None = None, host_allowed: bool = True) -> None:
        """Record programs on a device.

        Args:
            cuda: the device.
            most: how many are kept.
            refusal: why nothing can be recorded. None: something may be.
            host_allowed: see `Cuda.end_recording`.
        """
        self._cuda = cuda
        self._host_allowed = host_allowed
        self._most = most
        self._kept: OrderedDict[Hashable, _Recording] = OrderedDict()
        self._retired: list[_Recording] = []
        self.refusal = refusal if cuda.can_record else f"{cuda.through} has none"

    def __len__(self) -> int:
        return len(self._kept)

    def run(self, key: Hashable, program: Program, picture: int, ran_before: bool) -> None:
        """Queue a program, from its recording if there is one.

        Args:
            key: names the program and all its addresses.
            program: what is queued if it is not recorded.
            picture: the number of the picture.
            ran_before: whether a picture of this size ran before. If not, more of its size may never come.

        Raises:
            BackendError: an engine could not be queued.
        """
        one = self._kept.get(key)
        if one is not None and one.graph is not None:
            self._cuda.launch(one.graph)
            one.last_use = picture
            self._kept.move_to_end(key)
            return
        if one is None and ran_before and self.refusal is None:
            program.keep()
            self._kept[key] = one = _Recording(program, last_use=picture)
        with _TURNS.together():
            program.queue(self._cuda)
        if one is not None and self.refusal is None and program.can_be_recorded():
            self._record(one)
        while len(self._kept) > self._most:
            self._retired.append(self._kept.popitem(last=False)[1])

    def drop(self, wrong: Callable[[Hashable], bool]) -> None:
        """Forget the recordings whose keys are wrong now."""
        for key in [key for key in self._kept if wrong(key)]:
            self._retired.append(self._kept.pop(key))

    def sweep(self, done: int) -> None:
        """Free what was forgotten, if the pictures that used it are done."""
        for one in self._retired:
            if one.last_use <= done:
                self._free(one)
        self._retired = [one for one in self._retired if one.last_use > done]

    def close(self) -> None:
        """Free everything. No picture may be on its way."""
        for one in (*self._kept.values(), *self._retired):
            self._free(one)
        self._kept.clear()
        self._retired.clear()

    def _record(self, one: _Recording) -> None:
        try:
            one.graph = record(one.program, self._cuda, host_allowed=self._host_allowed)
        except BackendError as error:
            # All goes on without graphs, and `describe` says so.
            self.refusal = error.message

    def _free(self, one: _Recording) -> None:
        if one.graph is not None:
            self._cuda.free_graph(one.graph)
        one.program.release()

"""The program of a picture, taken from the runtime: run as it is, or stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from odise_trt import Segmenter
from odise_trt.backends.cuda import Cuda
from odise_trt.chains.program import Copy, Launch, Operation, Program
from odise_trt.chains.recordings import Recordings

#: Pictures of a size after which it is recorded.
_WARM = 3

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Taken:
    """A program at the moment at which the runtime would queue it.

    Attributes:
        program: the program. Its inputs lie on the device.
        cuda: the device.
        refusal: why nothing is recorded there. None: programs are.
        host_allowed: see `Cuda.end_recording`.
    """

    program: Program
    cuda: Cuda
    refusal: str | None
    host_allowed: bool


def is_on_device(segmenter: Segmenter) -> bool:
    """Whether engines pass tensors on a device, so that a picture is a program."""
    return segmenter.runs_on["between engines"] == "engines"


@contextmanager
def programs_given_to(run: Callable[[Taken], None]) -> Iterator[None]:
    """Give the programs of pictures to a function in the block, and queue or launch nothing else of them.

    Also a program that is recorded already is given, and its recording stays. `run` has to queue all of the
    program, in order: the results of the picture are read as ever.
    """

    def given(self: Recordings, key: Hashable, program: Program, picture: int, ran_before: bool) -> None:
        run(Taken(program, self._cuda, self.refusal, self._host_allowed))

    usual = Recordings.run
    Recordings.run = given  # type: ignore[method-assign]
    try:
        yield
    finally:
        Recordings.run = usual  # type: ignore[method-assign]


def queued(taken: Taken) -> None:
    """Queue a program operation by operation, whether it is recorded or not."""
    taken.program.queue(taken.cuda)


def stages_of(program: Program) -> list[tuple[str, Program]]:
    """Cut a program of one picture into its stages, in order: all runs of each, with what is copied for them.

    Every piece can be queued again and again. It reads what pieces before it wrote, and nothing of that lies
    where it writes itself.
    """
    pieces: list[tuple[str, list[Operation]]] = []
    before: list[Operation] = []
    for one in program.operations:
        if not isinstance(one, Launch):
            if isinstance(one, Copy) and pieces and not before and _is_of_last_run(one, pieces[-1][1]):
                pieces[-1][1].append(one)
            else:
                before.append(one)
            continue
        stage = one.engine.spec.name
        if not pieces or pieces[-1][0] != stage:
            pieces.append((stage, []))
        pieces[-1][1].extend([*before, one])
        before = []
    assert not before
    return [(stage, Program(tuple(operations))) for stage, operations in pieces]


def stage_names(segmenter: Segmenter, pixels: np.ndarray) -> list[str]:
    """Return the stages of a panoptic picture in order, after its size has run as often as is recorded."""
    found: list[str] = []

    def run(taken: Taken) -> None:
        found.extend(stage for stage, _ in stages_of(taken.program))
        queued(taken)

    for _ in range(_WARM):
        segmenter(pixels)
    with programs_given_to(run):
        segmenter(pixels)
    return found


def at_stage(
    segmenter: Segmenter, pixels: np.ndarray, number: int, work: Callable[[Taken], _Found]
) -> _Found:
    """Segment a picture, stop at one of its stages, and return what a function finds there.

    Args:
        segmenter: its engines pass tensors on a device.
        pixels: the picture, uint8 (H, W, 3).
        number: that of the stage, see `stage_names`.
        work: gets the stage as a program. All before it has been queued. It may queue it, as often as it
            likes; it is queued after it in any case.
    """
    found: list[_Found] = []

    def run(taken: Taken) -> None:
        for place, (_, piece) in enumerate(stages_of(taken.program)):
            if place == number:
                found.append(work(replace(taken, program=piece)))
            piece.queue(taken.cuda)

    with programs_given_to(run):
        segmenter(pixels)
    return found[0]


def runs_of(program: Program) -> list[Launch]:
    """Return the runs of engines in a program."""
    return [one for one in program.operations if isinstance(one, Launch)]


def _is_of_last_run(copy: Copy, operations: list[Operation]) -> bool:
    """Whether an output of the last run is copied to its place."""
    last = next(one for one in reversed(operations) if isinstance(one, Launch))
    return copy.source in last.outputs.values()

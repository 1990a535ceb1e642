"""Pictures on their way through a GPU, alone or several together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..errors import BackendError
from ..executor import Clock
from ..pipeline.sizes import named
from ..task import Task
from .base import Job, Outcome, Picture
from .queueing import Queued
from .read_back import READS, check_finite, fields_of
from .slot import Slot


class Finishes(Protocol):
    """The chain of the pictures."""

    def finish(self, group: OnTheirWay) -> None:
        """Wait for a group, if it was not waited for already."""
        ...


class OnTheirWay:
    """Pictures that run together. One picture is a group of its own.

    Attributes:
        given: the pictures, kept until they were read. Empty: they were.
        pictures: for each what the caller waits for.
        job: what is wanted of them.
        slot: their memory.
        number: how many groups were begun before it, and one more.
        queued: what was queued for them.
    """

    def __init__(
        self,
        chain: Finishes,
        given: Sequence[Picture],
        job: Job,
        slot: Slot,
        number: int,
        queued: Queued,
        clock: Clock,
        notes: Mapping[str, Any],
    ) -> None:
        """Keep what was queued.

        Args:
            chain: it finishes the group.
            given, job, slot, number, queued: the attributes.
            clock: times of what all pictures and tasks share.
            notes: for all outcomes, beside those of the plan.
        """
        self.given, self.job, self.slot, self.number, self.queued = given, job, slot, number, queued
        self.pictures = [OnItsWay(chain, self) for _ in given]
        self._clock, self._notes = clock, notes

    def read(self) -> None:
        """Wait for what comes down, and make the outcomes of each picture, or its error.

        Raises:
            BackendError: the GPU failed.
        """
        with self._clock("wait"):
            arrays = self.slot.wait()
        reduced = self.queued.ready.plan.reduced
        notes = {**{f"{axis} per run": count for axis, count in reduced.items()}, **self._notes}
        for place, picture in enumerate(self.given):
            own = {name: arrays[named(name, place)] for name in READS if named(name, place) in arrays}
            try:
                self.pictures[place].made = self._outcomes(place, picture.size[1], own, notes)
            except BackendError as error:
                self.pictures[place].error = error

    def leave(self) -> Sequence[Picture]:
        """Return the pictures, and hold them no more. No picture on its way knows the group from then on.

        Results and maps go when nobody holds them, without the garbage collector.
        """
        given, self.given = self.given, ()
        for one in self.pictures:
            one.group = None
        return given

    def fail(self, error: BackendError) -> None:
        """Give every picture an error."""
        for one in self.pictures:
            one.error = error

    def _outcomes(
        self, place: int, width: int, arrays: Mapping[str, np.ndarray], notes: Mapping[str, Any]
    ) -> dict[Task, Outcome]:
        """Return what was made for each task.

        Raises:
            BackendError: an engine gave numbers that are not finite.
        """
        check_finite(arrays)
        made = {}
        for task in self.job.tasks:
            own = Clock()
            with own("read"):
                fields = fields_of(task, arrays, self.queued.maps[place], self.job.table.vocabulary, width)
            made[task] = Outcome(fields, self._clock.seconds | own.seconds, notes)
        return made


class OnItsWay:
    """A picture on its way, see `Pending`.

    Attributes:
        group: those that it runs with. None: they are done.
        made: what was made.
        error: why nothing was made.
    """

    def __init__(self, chain: Finishes, group: OnTheirWay) -> None:
        self._chain = chain
        self.group: OnTheirWay | None = group
        self.made: Mapping[Task, Outcome] = {}
        self.error: BackendError | None = None

    def outcomes(self) -> Mapping[Task, Outcome]:
        """Wait for the picture, see `Pending.outcomes`."""
        if self.group is not None:
            self._chain.finish(self.group)
        if self.error is not None:
            raise self.error
        return self.made

    def take(self, other: OnItsWay) -> None:
        """Take what was made for the same picture, or its error."""
        self.made, self.error = other.made, other.error

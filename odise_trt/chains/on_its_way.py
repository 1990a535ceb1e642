"""A picture on its way through a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ..backends.device_array import DeviceArray
from ..errors import BackendError
from ..executor import Clock
from ..task import Task
from .base import Job, Outcome, Picture
from .programs import Ready
from .read_back import check_finite, fields_of
from .resident import Resident
from .slot import Slot


@dataclass(frozen=True)
class Queued:
    """What was queued for a picture.

    Attributes:
        ready: its program.
        shared: what it uses that stays on the device.
        maps: its id maps, if they stay on the device.
    """

    ready: Ready
    shared: tuple[Resident, ...]
    maps: Mapping[Task, DeviceArray]


class Finishes(Protocol):
    """The chain of a picture."""

    def finish(self, one: OnItsWay) -> None:
        """Wait for a picture, if it was not waited for already."""
        ...


@dataclass(eq=False)
class OnItsWay:
    """A picture on its way, see `Pending`.

    Attributes:
        chain: it finishes the picture.
        picture: kept until it was read. None: it was.
        job: what is wanted.
        slot: its memory.
        number: how many were begun before it, and one more.
        queued: what was queued for it.
        clock: times of what all tasks share.
        made: what was made.
        error: why nothing was made.
    """

    chain: Finishes
    picture: Picture | None
    job: Job
    slot: Slot
    number: int
    queued: Queued
    clock: Clock
    made: dict[Task, Outcome] = field(default_factory=dict)
    error: BackendError | None = None

    def read(self) -> None:
        """Wait for what comes down, and make the outcomes.

        Raises:
            BackendError: the GPU failed, or an engine gave numbers that are not finite.
        """
        assert self.picture is not None
        width = self.picture.size[1]
        with self.clock("wait"):
            arrays = self.slot.wait()
        check_finite(arrays)
        notes = {f"{axis} per run": count for axis, count in self.queued.ready.plan.reduced.items()}
        for task in self.job.tasks:
            own = Clock()
            with own("read"):
                fields = fields_of(task, arrays, self.queued.maps, self.job.table.vocabulary, width)
            self.made[task] = Outcome(fields, self.clock.seconds | own.seconds, notes)

    def outcomes(self) -> Mapping[Task, Outcome]:
        """Wait for the picture, see `Pending.outcomes`."""
        self.chain.finish(self)
        if self.error is not None:
            raise self.error
        return self.made

"""Which pictures run together on a GPU: those that are alike, as many as engines and memory allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..bundle.manifest import ModelSpec
from ..errors import DeviceMemoryWarning, notify
from ..task import Task
from ..windows import Grid
from .base import Job, Picture
from .queueing import Queueing

#: Pictures of a kind are alike but for their pixels: where they are, sizes as resized and of results, tasks.
Kind = tuple[type, tuple[int, ...], tuple[int, int], tuple[Task, ...]]


class Groups:
    """Decides how many pictures run together, and remembers where memory was too little."""

    def __init__(self, queueing: Queueing, model: ModelSpec) -> None:
        self._queueing = queueing
        side = model.short_side + -model.short_side % model.divisor
        #: Windows of a square picture. Nearly all others have at least as many.
        self._windows = len(Grid.over(side, side, model.window))
        self._fewer: dict[Kind, int] = {}

    @property
    def most(self) -> int:
        """The most pictures of a group. 1: nothing runs together."""
        programs = self._queueing.programs
        return max(1, programs.at_once["windows"] // self._windows) if programs.can_group else 1

    def first_group(self, pictures: Sequence[Picture], job: Job) -> int:
        """Return how many of the first pictures run together.

        A group has the most, or 1, 2, 4, ... pictures: each number needs a plan and a CUDA graph of its own.
        """
        kind = _kind(pictures[0], job)
        alike = next((n for n, one in enumerate(pictures) if _kind(one, job) != kind), len(pictures))
        if alike == 1:
            return 1
        most = min(self.most, self._queueing.most_pictures(pictures[0], job))
        most = min(most, self._fewer.get(kind, most))
        return most if alike >= most else 1 << (alike.bit_length() - 1)

    def take_fewer(self, picture: Picture, job: Job, count: int) -> int:
        """Let fewer pictures like this one run together from now on, and say so. Return how many.

        Args:
            picture: the first of a group for which there was too little memory.
            job: what was wanted of them.
            count: how many they were.
        """
        fewer = count // 2
        self._fewer[_kind(picture, job)] = fewer
        height, width = picture.size
        said = "each runs alone" if fewer == 1 else f"only {fewer} run together"
        notify(
            DeviceMemoryWarning(
                f"the GPU has too little memory for {count} pictures of {height} x {width} pixels together:"
                f" {said} from now on",
                "close what else uses the GPU, and open the bundle again",
            )
        )
        return fewer

    def notes(self, picture: Picture, job: Job) -> dict[str, Any]:
        """Return what to say in the provenance of a picture's results, see `Outcome.notes`."""
        fewer = self._fewer.get(_kind(picture, job))
        return {} if fewer is None else {"pictures together": fewer}

    def describe(self) -> str:
        """Say in words how many pictures run together."""
        if self.most == 1:
            return "each picture alone"
        windows = "one window" if self._windows == 1 else f"{self._windows} windows"
        return f"in a stream, up to {self.most} pictures of one size with {windows} each"


def _kind(picture: Picture, job: Job) -> Kind:
    return type(picture.resized), picture.resized.shape, picture.size, job.tasks

"""What the tests of streams share: pictures of one colour, and a chain that takes several."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from odise_trt import (
    Streamed,
)
from odise_trt.chains import Chain, Job, Outcome, Pending, Picture
from odise_trt.streaming import Reader
from odise_trt.streaming.reader import Read
from odise_trt.task import Task

COLOURS = ("red", "green", "blue")
WORDS = "red; green; blue"
#: Seconds after which a test that waits has failed.
LONG = 30


class ReadAhead(Reader):
    """Every picture is read before the chain asks for it: groups are as large as can be."""

    def take(self, wait: bool) -> Read | None:
        return super().take(True)


class Slow:
    """A chain of several slots: work begins at once and ends when somebody waits for it.

    Groups have up to `together` pictures. Each takes a slot, until somebody waits for one of its pictures.
    """

    def __init__(self, chain: Chain, depth: int, together: int = 1) -> None:
        self.depth, self.together = depth, together
        self._chain = chain
        self.on_their_way = 0
        self.most = 0
        self.begun = 0
        self.groups: list[list[tuple[int, int]]] = []

    def check(self, job: Job) -> None:
        self._chain.check(job)

    def adopt(self, image: object) -> Picture | None:
        return self._chain.adopt(image)

    def begin(self, picture: Picture, job: Job) -> Pending:
        return self.begin_together([picture], job)[0]

    def begin_together(self, pictures: Sequence[Picture], job: Job) -> list[Pending]:
        assert 1 <= len(pictures) <= self.together
        self.begun += 1
        self.on_their_way += 1
        self.most = max(self.most, self.on_their_way)
        self.groups.append([picture.size for picture in pictures])
        group: set[int] = {self.begun}
        return [_Later(self, group, self._chain, picture, job) for picture in pictures]

    def finish(self, group: set[int]) -> None:
        """A group is done. It is when the first of its pictures is."""
        self.on_their_way -= len(group)
        group.clear()

    def describe(self) -> dict[str, str]:
        return self._chain.describe()


class _Later:
    def __init__(self, slots: Slow, group: set[int], chain: Chain, picture: Picture, job: Job) -> None:
        self._slots, self._group, self._chain, self._given = slots, group, chain, (picture, job)

    def outcomes(self) -> Mapping[Task, Outcome]:
        self._slots.finish(self._group)
        return self._chain.begin(*self._given).outcomes()


def plain(colour: int | str, height: int = 40, width: int = 60) -> np.ndarray:
    """A picture of one colour."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, :, COLOURS.index(colour) if isinstance(colour, str) else colour % 3] = 255
    return image


def found(one: Streamed) -> list[str]:
    return [segment.name for segment in one.result.segments]


def colours_of(items: Iterator[Streamed]) -> list[list[str]]:
    return [found(one) for one in items]


def reading_threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("odise-trt")]


def endless() -> Iterator[np.ndarray]:
    return (plain(number) for number in itertools.count())

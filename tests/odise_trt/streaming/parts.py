"""What the tests of streams share: pictures of one colour, and a chain that takes several."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping

import numpy as np

from odise_trt import (
    Streamed,
)
from odise_trt.chains import Chain, Job, Outcome, Pending, Picture
from odise_trt.task import Task

COLOURS = ("red", "green", "blue")
WORDS = "red; green; blue"
#: Seconds after which a test that waits has failed.
LONG = 30


class Slow:
    """A chain of several slots: work begins at once and ends when somebody waits for it."""

    def __init__(self, chain: Chain, depth: int) -> None:
        self.depth = depth
        self._chain = chain
        self.on_their_way = 0
        self.most = 0
        self.begun = 0

    def check(self, job: Job) -> None:
        self._chain.check(job)

    def adopt(self, image: object) -> Picture | None:
        return self._chain.adopt(image)

    def begin(self, picture: Picture, job: Job) -> Pending:
        self.begun += 1
        self.on_their_way += 1
        self.most = max(self.most, self.on_their_way)
        return _Later(self, self._chain, picture, job)

    def finish(self) -> None:
        self.on_their_way -= 1

    def describe(self) -> dict[str, str]:
        return self._chain.describe()


class _Later:
    def __init__(self, slots: Slow, chain: Chain, picture: Picture, job: Job) -> None:
        self._slots, self._chain, self._given = slots, chain, (picture, job)

    def outcomes(self) -> Mapping[Task, Outcome]:
        self._slots.finish()
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

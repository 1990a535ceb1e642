"""Recordings that fail, and recordings beside other threads."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from odise_trt.chains.recordings import Recordings
from odise_trt.chains.turns import Turns
from odise_trt.errors import BackendError

WAIT = 30


class Cuda:
    """A device that notes what is recorded. If it is told to, a recording has copies from the host."""

    can_record = True
    through = "a test"

    def __init__(self) -> None:
        self.recording = self.copies = False
        self.calls: list[str] = []

    def begin_recording(self) -> None:
        self.recording = True

    def end_recording(self, host_allowed: bool = True) -> int:
        self.recording = False
        if self.copies and not host_allowed:
            raise BackendError("what was recorded copies from the host")
        return 7

    def launch(self, graph: int) -> None:
        self.calls.append("launch")

    def free_graph(self, graph: int) -> None:
        self.calls.append("free")


class Program:
    """A program whose engine cannot be recorded. Its next run reports that error once more, as CUDA does."""

    def __init__(self, cuda: Cuda, *, fails: bool = False) -> None:
        self.cuda, self.fails = cuda, fails
        self.stale = False

    def queue(self, cuda: Any) -> None:
        if self.stale:
            self.stale = False
            raise BackendError("an error of before")
        if self.cuda.recording and self.fails:
            self.stale = True
            raise BackendError("operation not permitted when stream is capturing")
        self.cuda.calls.append("recorded" if self.cuda.recording else "queued")

    def queue_first(self, cuda: Any) -> None:
        self.queue(cuda)

    def keep(self) -> None:
        self.cuda.calls.append("keep")

    def release(self) -> None:
        self.cuda.calls.append("release")

    def can_be_recorded(self) -> bool:
        return True


def run(recordings: Recordings, program: Program, pictures: int) -> None:
    for number in range(pictures):
        recordings.run("key", program, number, number > 0)  # type: ignore[arg-type]


def test_an_engine_that_cannot_be_recorded_harms_no_picture() -> None:
    cuda = Cuda()
    recordings, program = Recordings(cuda, 8), Program(cuda, fails=True)  # type: ignore[arg-type]
    run(recordings, program, 5)
    assert recordings.refusal == "operation not permitted when stream is capturing"
    assert cuda.calls == ["queued", "keep", "queued", "free", "queued", "queued", "queued"]


@pytest.mark.parametrize("host_allowed", [False, True])
def test_copies_from_the_host_are_recorded_only_if_they_are_allowed(host_allowed: bool) -> None:
    cuda = Cuda()
    cuda.copies = True
    recordings = Recordings(cuda, 8, host_allowed=host_allowed)  # type: ignore[arg-type]
    run(recordings, Program(cuda), 4)
    if host_allowed:
        assert recordings.refusal is None
        assert cuda.calls == ["queued", "keep", "queued", "recorded", "launch", "launch"]
    else:
        assert recordings.refusal == "what was recorded copies from the host"
        assert cuda.calls == ["queued", "keep", "queued", "recorded", "queued", "queued", "queued"]


def test_who_is_alone_waits_for_the_others_and_they_wait_for_it() -> None:
    turns, inside, leave, alone, done = Turns(), threading.Event(), threading.Event(), threading.Event(), []

    def other() -> None:
        with turns.together():
            inside.set()
            assert leave.wait(WAIT)
            done.append("other")

    def recorder() -> None:
        with turns.alone():
            done.append("alone")
            alone.set()

    first = threading.Thread(target=other)
    first.start()
    assert inside.wait(WAIT)
    with turns.together():  # beside the other one
        pass
    second = threading.Thread(target=recorder)
    second.start()
    assert not alone.wait(0.05)
    leave.set()
    assert alone.wait(WAIT)
    with turns.together():
        done.append("later")
    for thread in (first, second):
        thread.join(WAIT)
    assert done == ["other", "alone", "later"]


def test_an_error_inside_gives_the_turn_back() -> None:
    turns = Turns()
    for held in (turns.alone, turns.together, turns.alone):
        with pytest.raises(KeyError), held():
            raise KeyError

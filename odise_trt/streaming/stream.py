"""The iterator over the results of many pictures."""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from ..chains import Chain, Job, Outcome, Pending
from ..errors import OdiseError, error_of
from ..result import Result
from ..task import Task
from .prepared import Prepared
from .reader import Read, Reader, tried


@dataclass(frozen=True, eq=False)
class Streamed:
    """One picture of a stream: its results, or why there are none.

    Attributes:
        index: its place among the pictures of the stream, from 0.
        source: what the stream was given for it.
        results: the result of each task. Empty if there is an error.
        error: why the picture could not be read or segmented. None: it was.
    """

    index: int
    source: Any
    results: Mapping[Task, Result] = field(default_factory=dict)
    error: OdiseError | None = None

    @property
    def result(self) -> Result:
        """The result, that of the first task if there are several.

        Raises:
            OdiseError: `error`.
        """
        if self.error is not None:
            raise self.error
        return next(iter(self.results.values()))


#: Makes the results of a picture.
Finish = Callable[[Prepared, Job, Mapping[Task, Outcome]], dict[Task, Result]]


class Stream(Iterator[Streamed]):
    """Gives one `Streamed` for each picture, in order. `Segmenter.stream` makes it.

    The engines work in the thread that asks for the next picture. A chain whose depth is 1 rests between two
    pictures. A deeper one works on.

    It closes itself at its end, after an error, and when nobody holds it any more. `close` does it earlier.
    """

    def __init__(
        self,
        reader: Reader,
        chain: Chain,
        job: Callable[[], Job],
        finish: Finish,
        streams: OpenStreams,
    ) -> None:
        """Make a stream. Nothing is read yet.

        Args:
            reader: gives the pictures.
            chain: takes them.
            job: returns what is wanted of a picture now, or raises an error that ends the stream.
            finish: makes results.
            streams: all streams that use the chain. This one becomes one of them.
        """
        self._reader = reader
        self._chain = chain
        self._job = job
        self._finish = finish
        self._streams = streams
        self._begun: deque[_Begun] = deque()
        self._ended = False
        # The threads know the reader only, so that a stream that nobody holds goes, as after `break`.
        self._leave = weakref.finalize(self, _leave, reader, self._begun, streams.left)
        streams.add(self)

    @property
    def depth(self) -> int:
        """The most pictures that are on their way at the same time."""
        return max(1, self._chain.depth)

    def __next__(self) -> Streamed:
        """Return the next picture.

        Raises:
            StopIteration: there is no further one, or the stream was closed.
            BackendError: the segmenter was closed.
            BaseException: what the caller's iterable raised. All pictures before were given.
        """
        if self._ended:
            raise StopIteration
        try:
            job = self._job()
            self._streams.settle(but=self)
            self._begin_again(job)
            self._begin(job, wait=True)
            if not self._begun:
                raise StopIteration
            first = self._begun.popleft()
            first.settle()
            if self.depth > 1:
                # The chain goes on while the caller looks at this one. It does not wait for the next frame
                # of a camera.
                self._begin(job, wait=False)
            return first.streamed(self._finish)
        except BaseException:
            self.close()
            raise

    def settle(self) -> None:
        """Wait for all pictures on their way, and keep what was made of them. The chain is free then."""
        for one in self._begun:
            one.settle()

    def stop(self) -> None:
        """Stop reading, and forget all pictures on their way."""
        self._leave()
        self._streams.settle_left()

    def close(self) -> None:
        """End the stream. Its threads stop, and no further picture is given. Closing twice is allowed."""
        self._ended = True
        self.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, job: Job, wait: bool) -> None:
        """Begin as many pictures as the chain takes at once, and wait for one if there is none."""
        while len(self._begun) < self.depth:
            read = self._reader.take(wait and not self._begun)
            if read is None:
                return
            one = _Begun(read)
            self._begun.append(one)
            one.begin(self._chain, job)

    def _begin_again(self, job: Job) -> None:
        """Begin pictures on their way again if something else is wanted of them now."""
        if any(one.job is not None and one.job.table is not job.table for one in self._begun):
            self.settle()
            for one in self._begun:
                one.begin(self._chain, job)


class OpenStreams:
    """The streams of one segmenter. They share its chain."""

    def __init__(self) -> None:
        self._streams: weakref.WeakSet[Stream] = weakref.WeakSet()
        #: Pictures in the chain whose streams are gone.
        self.left: deque[_Begun] = deque()

    def add(self, stream: Stream) -> None:
        """Take in a stream, for as long as somebody holds it."""
        self._streams.add(stream)

    def settle(self, but: Stream | None = None) -> None:
        """Settle all of them, but this one. Then the chain and the engines can be used otherwise."""
        self.settle_left()
        for stream in list(self._streams):
            if stream is not but:
                stream.settle()

    def settle_left(self) -> None:
        """Wait for pictures that nobody will ask for."""
        while self.left:
            self.left.popleft().settle()

    def stop(self) -> None:
        """Stop all of them, since the segmenter is closed."""
        for stream in list(self._streams):
            stream.stop()
        self.settle_left()


class _Begun:
    """A picture that was given to the chain, or that has an error already."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._error = read.error
        self._pending: Pending | None = None
        self._outcomes: Mapping[Task, Outcome] | None = None
        self.job: Job | None = None

    def begin(self, chain: Chain, job: Job) -> None:
        """Give it to the chain, for this job."""
        if self._read.prepared is None:
            return
        self.job, self._outcomes = job, None
        self._pending, self._error = tried(chain.begin, self._read.prepared.picture, job)

    def settle(self) -> None:
        """Wait for it, and keep its outcomes or its error."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self._outcomes, self._error = tried(pending.outcomes)

    def streamed(self, finish: Finish) -> Streamed:
        """Return what the caller gets. It was settled."""
        read, results, error = self._read, None, self._error
        if error is None:
            results, error = tried(finish, read.prepared, self.job, self._outcomes)
        if error is not None:
            return Streamed(read.index, read.source, error=error_of(self._name(), error))
        return Streamed(read.index, read.source, results or {})

    def _name(self) -> str:
        """Return what messages call it: its path, or its place in the stream."""
        read = self._read
        if isinstance(read.source, str | os.PathLike):
            return os.fsdecode(read.source)
        if read.prepared is not None and read.prepared.path is not None:
            return str(read.prepared.path)
        return f"picture {read.index} of the stream"


def _leave(reader: Reader, begun: deque[_Begun], left: deque[_Begun]) -> None:
    """Stop the threads of a stream. It may be called in any thread, so the chain is left alone."""
    reader.close()
    left.extend(begun)
    begun.clear()

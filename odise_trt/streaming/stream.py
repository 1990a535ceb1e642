"""The iterator over the results of many pictures."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from ..chains import Chain, Job
from .item import Finish, Streamed, Taken
from .reader import Reader, tried


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
        #: In order: in the chain, or ready for it, or done.
        self._taken: deque[Taken] = deque()
        self._ended = False
        # The threads know the reader only, so that a stream that nobody holds goes, as after `break`.
        self._leave = weakref.finalize(self, _leave, reader, self._taken, streams.left)
        streams.add(self)

    @property
    def depth(self) -> int:
        """The most pictures, or groups that run together, that are on their way at the same time."""
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
            if not self._taken:
                raise StopIteration
            self._settle_first()
            first = self._taken.popleft()
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
        for one in self._taken:
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
        while len({one.begun for one in self._taken} - {None}) < self.depth:
            waiting = self._take(wait)
            if not waiting:
                return
            pictures = [one.picture for one in waiting]
            pending, error = tried(self._chain.begin_together, pictures, job)
            begun = object()
            for one, its in zip(waiting, pending or (), strict=False):
                one.begin(job, its, None, begun)
            if error is not None:
                waiting[0].begin(job, None, error, None)

    def _take(self, wait: bool) -> list[Taken]:
        """Take pictures that are read, and return those that the chain may begin together.

        None of them is waited for, but the first if there is no other.
        """
        together = max(1, self._chain.together)
        # A group that is done, and is given picture by picture, does not keep the next one from the chain.
        room = (self.depth + 1) * together - 1
        waiting = [one for one in self._taken if one.waits]
        while len(waiting) < together and len(self._taken) < room:
            read = self._reader.take(wait and not self._taken)
            if read is None:
                break
            one = Taken(read)
            self._taken.append(one)
            if one.waits:
                waiting.append(one)
        return waiting[:together]

    def _begin_again(self, job: Job) -> None:
        """Let pictures on their way begin again if something else is wanted of them now."""
        if any(one.job is not None and one.job.table is not job.table for one in self._taken):
            self.settle()
            for one in self._taken:
                one.begin_again()

    def _settle_first(self) -> None:
        """Wait for the first picture, and so for those that run together with it."""
        first = self._taken[0]
        together = [one for one in self._taken if one.begun is first.begun and one.begun is not None]
        for one in together or [first]:
            one.settle()


class OpenStreams:
    """The streams of one segmenter. They share its chain."""

    def __init__(self) -> None:
        self._streams: weakref.WeakSet[Stream] = weakref.WeakSet()
        #: Pictures in the chain whose streams are gone.
        self.left: deque[Taken] = deque()

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


def _leave(reader: Reader, taken: deque[Taken], left: deque[Taken]) -> None:
    """Stop the threads of a stream. It may be called in any thread, so the chain is left alone."""
    reader.close()
    left.extend(taken)
    taken.clear()

"""One picture of a stream, from the reader to what the caller gets."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..chains import Job, Outcome, Pending
from ..errors import OdiseError, error_of
from ..result import Result
from ..task import Task
from .prepared import Prepared
from .reader import Read, tried


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


class Taken:
    """A picture that was taken from the reader. It waits for the chain, is in it, was in it, or has an error.

    Attributes:
        picture: what the chain takes. None: it could not be read.
        job: what was wanted of it when it was given to the chain. None: it was not.
        begun: pictures that were begun together have the same one. None: the chain has no work for it.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._error = read.error
        self._pending: Pending | None = None
        self._outcomes: Mapping[Task, Outcome] | None = None
        self.picture = None if read.prepared is None else read.prepared.picture
        self.job: Job | None = None
        self.begun: object | None = None

    @property
    def waits(self) -> bool:
        """Whether it still has to be given to the chain."""
        return self.picture is not None and self.job is None

    def begin(self, job: Job, pending: Pending | None, error: Exception | None, begun: object | None) -> None:
        """Note that it was given to the chain, for this job, and what came of it."""
        self.job, self._pending, self._error, self.begun = job, pending, error, begun

    def begin_again(self) -> None:
        """Forget that it was given to the chain. It was settled."""
        if self.picture is not None:
            self.job = self._outcomes = self._error = None

    def settle(self) -> None:
        """Wait for it, and keep its outcomes or its error."""
        pending, self._pending, self.begun = self._pending, None, None
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

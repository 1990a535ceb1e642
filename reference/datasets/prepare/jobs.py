"""Converting many files: in parallel, each one whole or not at all, and going on where it was left.

Nothing that exists is written over unless that is asked for.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odise_trt.errors import OutputError

from ..errors import DatasetError

Row = dict[str, Any]


@dataclass(frozen=True)
class Made:
    """What a job made: contents of files, and a row for the JSON about all of them."""

    files: dict[Path, bytes]
    row: Row | None = None


@dataclass(frozen=True)
class Job:
    """One image to convert.

    Attributes:
        name: unique in the work.
        targets: the files that `make` makes.
        make: does it.
    """

    name: str
    targets: tuple[Path, ...]
    make: Callable[[], Made]


@dataclass(frozen=True)
class Work:
    """All that one dataset needs.

    Attributes:
        jobs: the images.
        summary: the JSON about all of them, written last; None: there is none.
        summarize: rows of the jobs, in order -> its content.
    """

    jobs: Sequence[Job]
    summary: Path | None = None
    summarize: Callable[[list[Row]], Any] | None = None


def carry_out(
    work: Work,
    *,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Do what is not done yet.

    Rows of finished images are kept beside the summary, in a journal, until it is complete: a run that was
    stopped is taken up there.

    Args:
        overwrite: make everything again.
        threads: how many at a time; None: one per core.
        progress: told how many images were finished since it was called last.

    Returns:
        How many images were converted now.

    Raises:
        DatasetError: a file exists that was not made from this data.
        OutputError: a file cannot be written.
    """
    if work.summary is not None and work.summary.exists() and not overwrite:
        progress(len(work.jobs))
        return 0
    journal = _Journal(work.summary) if work.summary is not None else None
    rows = journal.start(overwrite) if journal is not None else {}
    todo = []
    for job in work.jobs:
        there = all(target.exists() for target in job.targets)
        finished = there and not overwrite and (journal is None or job.name in rows)
        if not finished:
            todo.append(job)
    progress(len(work.jobs) - len(todo))
    for job, made in _in_parallel(todo, threads or os.cpu_count() or 1):
        for path, content in made.files.items():
            _write(path, content, overwrite)
        if journal is not None and made.row is not None:
            rows[job.name] = made.row
            journal.add(job.name, made.row)
        progress(1)
    if work.summary is not None and work.summarize is not None:
        data = work.summarize([rows[job.name] for job in work.jobs])
        _replace(work.summary, json.dumps(data).encode())
        assert journal is not None
        journal.remove()
    return len(todo)


class _Journal:
    """One line of JSON per finished image."""

    def __init__(self, summary: Path) -> None:
        self._path = summary.with_name(f"{summary.name}.partial")

    def start(self, anew: bool) -> dict[str, Row]:
        """What is in it; nothing when `anew`."""
        if anew:
            self.remove()
        rows: dict[str, Row] = {}
        try:
            lines = self._path.read_text(encoding="utf-8").split("\n")
        except FileNotFoundError:
            return {}
        # A line that a power cut tore apart is an image to be made again.
        for line in lines:
            with suppress(ValueError):
                name, row = json.loads(line)
                rows[name] = row
        _replace(self._path, "".join(_line(name, row) for name, row in rows.items()).encode())
        return rows

    def add(self, name: str, row: Row) -> None:
        """Note that an image is finished."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(_line(name, row))
        except OSError as error:
            raise OutputError(f"{self._path} cannot be written: {error.strerror}") from error

    def remove(self) -> None:
        """All is in the summary now."""
        self._path.unlink(missing_ok=True)


def _line(name: str, row: Row) -> str:
    return json.dumps([name, row]) + "\n"


def _in_parallel(jobs: Sequence[Job], threads: int) -> Iterator[tuple[Job, Made]]:
    """As they finish; few are ahead of the writer, so memory does not grow with their number."""
    waiting = iter(jobs)
    running: dict[Future[Made], Job] = {}
    with ThreadPoolExecutor(threads) as pool:
        try:
            while True:
                while len(running) < 2 * threads and (job := next(waiting, None)) is not None:
                    running[pool.submit(job.make)] = job
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _write(path: Path, content: bytes, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        if path.read_bytes() == content:
            return
        raise DatasetError(
            f"{path} exists and holds something else", "move it away, or write over it with --overwrite"
        )
    _replace(path, content)


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)

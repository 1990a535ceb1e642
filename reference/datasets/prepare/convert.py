"""Convert many files in parallel. A stopped run goes on from the finished images.

Each file is written whole or not at all. Files that exist are replaced on request only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from odise_trt.errors import ImageError, OdiseError, hint_for, reason
from odise_trt.files.writing import write_file, writing
from reference.errors import DatasetError, counted, listed, out_of_memory

from ..forms import IMAGE
from ..json_rows import read_rows
from ..needs import partial_of
from ..parallel import in_parallel

Row = dict[str, Any]


@dataclass(frozen=True)
class Made:
    """The result of a job: contents of files, and a row for the JSON about all images, if there is one."""

    files: dict[Path, bytes]
    row: Row = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One image to convert.

    Attributes:
        name: unique among the jobs; the id of the image in the JSON about all images, if there is one.
        targets: the files that `make` returns.
        make: converts the image.
    """

    name: str
    targets: tuple[Path, ...]
    make: Callable[[], Made]


@dataclass(frozen=True)
class Work:
    """The preparation of one split of a dataset.

    Attributes:
        jobs: one per image.
        target: the JSON about all images, which is written last; without one, the folder of the maps.
        summarize: rows of all jobs, in order -> content of the JSON; None: there is no JSON.
    """

    jobs: Sequence[Job]
    target: Path
    summarize: Callable[[list[Row]], Any] | None = None


def carry_out(
    work: Work,
    *,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Convert the images that are not converted yet.

    A journal beside the target lists the finished images until all are finished. A stopped run goes on from
    it, and a dataset with a journal cannot be opened. If an image cannot be converted, the others still are.

    Args:
        work: see `Work`.
        overwrite: convert all images again.
        threads: number of threads; None: one per core.
        progress: called with the number of images finished since the last call.

    Returns:
        The number of images that were converted in this run.

    Raises:
        DatasetError: some images cannot be read, or their files exist with other content; one message lists
            all of them. Or the JSON lists images that are not in the data.
        OutputError: a file cannot be written.
    """
    journal = _Journal(partial_of(work.target))
    there = {job.name for job in work.jobs if all(map(os.path.exists, job.targets))}
    rows = {} if overwrite else journal.read()
    if rows is None:
        if _covers(work) and len(there) == len(work.jobs):
            progress(len(work.jobs))
            return 0
        # Without a journal the rows are unknown: if they are needed, images are converted again.
        rows = {name: {} for name in there} if work.summarize is None else {}
    rows = {name: row for name, row in rows.items() if name in there}
    todo = [job for job in work.jobs if job.name not in rows]
    journal.start(rows)
    progress(len(work.jobs) - len(todo))
    failed: dict[str, OdiseError] = {}
    for job, future in in_parallel(todo, lambda job: job.make(), threads or os.cpu_count() or 1):
        try:
            made = future.result()
            for path, content in made.files.items():
                _write(path, content, overwrite)
        except (DatasetError, ImageError) as error:
            failed[job.name] = error
        except MemoryError:
            failed[job.name] = out_of_memory(job.name)
        else:
            rows[job.name] = made.row
            journal.add(job.name, made.row)
        progress(1)
    if failed:
        raise DatasetError(
            f"{len(failed)} of {counted(len(work.jobs), 'image')} could not be prepared:"
            + listed([failed[job.name] for job in todo if job.name in failed]),
            "the others are finished; correct these, and the same command goes on",
        )
    if work.summarize is not None:
        write_file(work.target, json.dumps(_summary(work, rows)).encode())
    journal.remove()
    return len(todo)


def _summary(work: Work, rows: Mapping[str, Row]) -> Any:
    assert work.summarize is not None
    try:
        return work.summarize([rows[job.name] for job in work.jobs])
    except (KeyError, TypeError) as error:
        journal = partial_of(work.target)
        raise DatasetError(f"{journal} was changed", f"remove {journal} and start again") from error


def _covers(work: Work) -> bool:
    """Whether the JSON lists all images; True if the work has no JSON.

    Raises:
        DatasetError: the JSON lists images that are not in the data.
    """
    if work.summarize is None:
        return True
    if not os.path.exists(work.target):
        return False
    names = {job.name for job in work.jobs}
    about = {row["id"] for row in read_rows(work.target, images=IMAGE)["images"]}
    others = sorted(map(str, about - names))
    if others:
        raise DatasetError(
            f"{work.target} is about {len(others)} images that are not here: {others[0]} ...",
            "unpack them again, or make it of what is here with --overwrite",
        )
    return about == names


class _Journal:
    """A file with one line of JSON per finished image: its name, its row for the JSON about all images."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, Row] | None:
        """Return the rows by name; None: there is no journal."""
        rows: dict[str, Row] = {}
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DatasetError(f"{self._path} cannot be read: {reason(error)}", hint_for(error)) from error
        # An incomplete line, as after a power cut, is ignored: its image is converted again.
        for line in lines:
            with suppress(ValueError, TypeError, RecursionError):
                name, row = json.loads(line)
                if isinstance(row, dict):
                    rows[name] = row
        return rows

    def start(self, rows: Mapping[str, Row]) -> None:
        """Write the journal anew, with these rows only."""
        write_file(self._path, "".join(_line(name, row) for name, row in rows.items()).encode())

    def add(self, name: str, row: Row) -> None:
        """Add a finished image."""
        with writing(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(_line(name, row))

    def remove(self) -> None:
        """Remove the journal, because all images are finished."""
        self._path.unlink(missing_ok=True)


def _line(name: str, row: Row) -> str:
    return json.dumps([name, row]) + "\n"


def _write(path: Path, content: bytes, overwrite: bool) -> None:
    if os.path.lexists(path) and not overwrite:
        with suppress(OSError):
            if path.read_bytes() == content:
                return
        raise DatasetError(
            f"{path} exists and holds something else", "move it away, or write over it with --overwrite"
        )
    write_file(path, content)

"""Runs parts until the time is spent, and writes the summary."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.record import check_place, write_record
from odise_trt.errors import OdiseError
from odise_trt.files.writing import write_file

from .job import Job
from .parts import PARTS, Part
from .plan import limit_of, plan
from .process import Ended, run_limited
from .records import CUT, FAILED, FINAL, KEYS, RUNNING, TIMEOUT, PartRecord, path_of, read_record
from .summary import NAME, records_of, summary

if TYPE_CHECKING:
    from rich.table import Table

_ROOT = Path(__file__).resolve().parents[2]
#: (part, folder, what the worker is told, limit) -> how its process ended.
Start = Callable[[Part, Path, Mapping[str, Any], float], Ended]


@dataclass(frozen=True)
class Outcome:
    """What there is after a call.

    Attributes:
        record: the summary.
        left: parts that were not begun, or were cut off.
        failed: parts that failed or took too long.
    """

    record: Mapping[str, Any]
    left: tuple[str, ...]
    failed: tuple[str, ...]

    @property
    def next(self) -> str:
        """What to do next, in words."""
        from .table import next_step

        return next_step(self.record)

    def tables(self) -> Iterator[Table]:
        """Yield the tables of the summary."""
        from .table import tables

        return tables(self.record)


def start_worker(part: Part, folder: Path, told: Mapping[str, Any], limit: float) -> Ended:
    """Run a part in `benchmarks.gpu.worker`."""
    start = "import sys; from benchmarks.gpu.worker import main; main(*sys.argv[1:])"
    command = [sys.executable, "-c", start, part.name, str(folder), json.dumps(told)]
    return run_limited(command, limit, dict(part.environment))


def run(
    folder: Path,
    job: Job,
    parts: Sequence[Part],
    seconds: float,
    *,
    again: bool = False,
    say: Callable[[str], None] = lambda _: None,
    start: Start = start_worker,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Run the parts that are missing until the time is spent.

    Args:
        folder: for the records.
        job: what is measured.
        parts: the chosen parts, without the probe.
        seconds: for this call.
        again: run parts again that are there.
        say: called with a line of progress.
        start, clock: the process and the time, for tests.

    Raises:
        OdiseError: the machine could not be probed, so there is nothing to compare records with.
        OutputError: a record cannot be written.
    """
    ends = clock() + seconds
    for one in (*PARTS[:1], *parts):
        check_place(path_of(folder, one.name), KEYS)
    machine = _probe(folder, job, min(PARTS[0].limit, seconds), start)
    key = {"machine": machine, "job": job.to_json(), "code": _code()}
    todo = plan(folder, parts, key, again=again)
    for name, record in todo.kept.items():
        say(f"{name}: there, {record.status}")
    left = []
    for part in todo.pending:
        limit = limit_of(part, ends - clock())
        if limit is None:
            left.append(part.name)
            continue
        say(f"{part.name} ...")
        record = _run(folder, part, key, job, limit, start)
        say(f"{part.name}: {record.status} after {record.seconds:.0f} s{_why(record)}")
        if record.status == CUT:
            left.append(part.name)
    return _finish(folder, parts, key, left)


def _finish(folder: Path, parts: Sequence[Part], key: Mapping[str, Any], left: Sequence[str]) -> Outcome:
    every = records_of(folder, PARTS[1:], key)
    record = summary(PARTS[1:], every, key)
    write_record(folder / NAME, record)
    from .picture import waterfall

    image = waterfall(record)
    if image is not None:
        content = io.BytesIO()
        image.save(content, "PNG")
        write_file(folder / "waterfall.png", content.getvalue())
    chosen = {part.name for part in parts}
    failed = [
        name for name, one in every.items() if name in chosen and one.status not in FINAL and name not in left
    ]
    return Outcome(record, tuple(left), tuple(failed))


def _code() -> str:
    """Return a digest of our code. A commit with changes, or a copy without git, is not told by its name."""
    digest = hashlib.sha256()
    for package in ("benchmarks", "export", "odise_trt", "reference"):
        for path in sorted((_ROOT / package).rglob("*.py")):
            digest.update(f"{path.relative_to(_ROOT)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _probe(folder: Path, job: Job, limit: float, start: Start) -> Mapping[str, Any]:
    record = _run(folder, PARTS[0], {}, job, limit, start)
    machine = record.numbers.get("machine")
    if not isinstance(machine, dict):
        raise OdiseError(
            f"the machine could not be probed: {(record.message or 'it gave no answer').splitlines()[0]}",
            "give --device cpu to try the command; odise-trt doctor says what this machine has",
        )
    return machine


def _run(
    folder: Path, part: Part, key: Mapping[str, Any], job: Job, limit: float, start: Start
) -> PartRecord:
    # Of a part that dies at once, nothing older must be taken for its record.
    PartRecord(part.name, key).write(folder)
    ended = start(part, folder, {"job": job.to_json(), "key": key, "limit": limit}, limit)
    record = read_record(folder, part.name) or PartRecord(part.name, key)
    record.seconds = ended.seconds
    if record.status == RUNNING:
        is_cut = ended.status is None and limit < part.limit
        record.status = CUT if is_cut else TIMEOUT if ended.status is None else FAILED
        record.message = ended.message or "it ended without a result"
    record.write(folder)
    return record


def _why(record: PartRecord) -> str:
    first = record.message.splitlines()[0] if record.message else ""
    return f": {first}" if first else ""

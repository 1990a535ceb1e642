"""One part in this process, which the command starts."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odise_trt.backends.registry import resolve
from odise_trt.errors import BackendError

from .clocks import Watch
from .job import Job
from .parts import PARTS, Part
from .records import DONE, FAILED, REFUSED, PartRecord

if TYPE_CHECKING:
    from .sections import Bench

#: Longest message that a record keeps.
_MESSAGE = 2000


def work(part: Part, make: Callable[[], Bench], record: PartRecord, folder: Path, watch: Watch) -> None:
    """Run a part with a bench that is made first, and write its record after every number.

    Numbers that were measured while the clocks throttled become errors. A `BackendError` means that the
    machine lacks what the part needs; any other error that it failed.

    Raises:
        OutputError: the record cannot be written.
    """
    began = time.monotonic()
    try:
        numbers = resolve(part.runs)(make(), *part.arguments)
        while True:
            since = time.monotonic()
            found = next(numbers, None)
            if found is None:
                break
            key, value = found
            why = watch.throttled(since)
            record.numbers[key] = (
                {"error": f"the clocks throttled: {why}", "measured": value} if why else value
            )
            if clocks := watch.last():
                record.clocks[key] = clocks
            record.seconds = time.monotonic() - began
            record.write(folder)
        failures = record.failures
        record.status = FAILED if failures else DONE
        record.message = f"not measured: {', '.join(failures)}" if failures else ""
    except Exception as error:
        record.status = REFUSED if isinstance(error, BackendError) else FAILED
        text = str(error) if isinstance(error, BackendError) else f"{type(error).__name__}: {error}"
        record.message = text[:_MESSAGE]
    record.seconds = time.monotonic() - began
    record.write(folder)


def main(name: str, folder: str, told: str) -> None:
    """Run the part of that name. `told` is JSON: the job, the key of the record, and the limit in seconds."""
    orders: dict[str, Any] = json.loads(told)
    # The command ends this process in time. Should the command itself be killed, this does.
    signal.alarm(int(orders["limit"]) + 30)
    part = next(one for one in PARTS if one.name == name)
    job = Job.from_json(orders["job"])
    kind, _, index = job.device.partition(":")
    with Watch(int(index or 0) if kind == "cuda" else None) as watch:
        work(part, job.bench, PartRecord(name, orders["key"]), Path(folder), watch)

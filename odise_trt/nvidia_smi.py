"""Queries `nvidia-smi` for the GPUs.

Its output is searched for rows of GPUs. Any other output is tolerated.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

_FIELDS = ("name", "compute_cap", "memory.total", "driver_version")
# Drivers before 470 do not know this field, and reject the whole query because of it.
_NEWER = "compute_cap"
# Patterns of the cells. If there is no value, the tool prints the reason in brackets: [N/A], [Not Supported].
_CELLS = {
    "name": re.compile(r".*\S.*"),
    "compute_cap": re.compile(r"\d+\.\d+|\[.*\]|N/A"),
    "memory.total": re.compile(r"\d+ ?[KMGT]?i?B?|\[.*\]|N/A"),
    "driver_version": re.compile(r"\d+(\.\d+)+\w*|\[.*\]|N/A"),
}
_SECONDS = 10.0
_MOST_BYTES = 1 << 16


@dataclass(frozen=True)
class Gpu:
    """A GPU in the tool's words. Unknown values are ""."""

    name: str
    compute_capability: str
    memory: str
    driver: str


@dataclass(frozen=True)
class Answer:
    """The answer of the tool.

    Attributes:
        gpus: the GPUs, in the order of CUDA's numbers unless CUDA_DEVICE_ORDER says otherwise.
        remarks: other lines that the tool printed, for example warnings.
        failure: why there is no answer. "" if there is one.
        is_refusal: whether the tool ran to its end but named no GPU.
    """

    gpus: tuple[Gpu, ...] = ()
    remarks: tuple[str, ...] = ()
    failure: str = ""
    is_refusal: bool = False


def find() -> str | None:
    """Return the path of the tool, or None. A file that is not executable is only the second choice."""
    return shutil.which("nvidia-smi") or shutil.which("nvidia-smi", mode=os.F_OK)


def ask(tool: str) -> Answer:
    """Query all GPUs. It ends within seconds, whatever the tool does."""
    answer = _ask(tool, _FIELDS)
    if not answer.is_refusal:
        return answer
    second = _ask(tool, [field for field in _FIELDS if field != _NEWER])
    return second if second.gpus else answer


def _ask(tool: str, fields: Sequence[str]) -> Answer:
    command = [tool, f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    try:
        status, output = _run(command)
    except OSError as error:
        return Answer(failure=f"nvidia-smi does not run: {error.strerror or error}")
    lines = [line.strip() for line in output.decode("utf-8", errors="replace").splitlines()]
    rows = {line: _row(line, fields) for line in lines if line}
    remarks = tuple(dict.fromkeys(line for line, row in rows.items() if row is None))
    # GPUs of one kind can have equal rows.
    gpus = tuple(row for line in lines if (row := rows.get(line)) is not None)
    if gpus:
        return Answer(gpus, remarks)
    if status is None:
        return Answer(remarks=remarks, failure=f"nvidia-smi gave no answer within {_SECONDS:.0f} seconds")
    said = remarks[0] if remarks else f"exit status {status}" if status else "it printed nothing"
    return Answer(remarks=remarks, failure=f"nvidia-smi: {said}", is_refusal=True)


def _row(line: str, fields: Sequence[str]) -> Gpu | None:
    # A name may have commas. The cells after it have none.
    cells = [cell.strip() for cell in line.rsplit(",", len(fields) - 1)]
    if len(cells) != len(fields):
        return None
    found = dict(zip(fields, cells, strict=True))
    if not all(_CELLS[field].fullmatch(cell) for field, cell in found.items()):
        return None
    known = {field: "" if cell == "N/A" or cell.startswith("[") else cell for field, cell in found.items()}
    return Gpu(found["name"], known.get("compute_cap", ""), known["memory.total"], known["driver_version"])


def _run(command: Sequence[str]) -> tuple[int | None, bytes]:
    """Return the exit status (None if it had to be stopped) and the first bytes of the output.

    `subprocess.run` is not used. After a kill it waits forever for child processes that keep the pipe open.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    parts: list[bytes] = []
    reader = threading.Thread(target=_read, args=(process, parts), daemon=True)
    reader.start()
    reader.join(_SECONDS)
    status: int | None = None
    with suppress(subprocess.TimeoutExpired):
        status = process.wait(0.0 if reader.is_alive() else 1.0)
    if status is None:
        _end(process)
    reader.join(1.0)
    return status, b"".join(parts)


def _read(process: subprocess.Popen[bytes], parts: list[bytes]) -> None:
    assert process.stdout is not None
    size = 0
    with suppress(OSError, ValueError):
        while size < _MOST_BYTES and (part := os.read(process.stdout.fileno(), 4096)):
            parts.append(part)
            size += len(part)
        process.stdout.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    # A process that waits for a driver may not be killable.
    with suppress(subprocess.TimeoutExpired):
        process.wait(1.0)

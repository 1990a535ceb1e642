"""Runs ModelOpt in the environment that the user gives, through files."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from odise_trt.errors import ExportError

_HERE = Path(__file__).resolve().parent
_DRIVER = _HERE / "driver.py"
_OLDEST = (0, 47)
#: Lines of its log that a message shows.
_LINES_SHOWN = 12
_NEEDED = ("nvidia-modelopt", "onnx", "onnxruntime", "onnx-graphsurgeon", "torch", "numpy")


@dataclass(frozen=True)
class Job:
    """What `driver.py` is to do.

    Attributes:
        graph, output: ONNX files. The folder of the output exists.
        precision: "int8" or "fp8".
        nodes: names of the nodes to quantize.
        samples: npz files, each with an array for every input of the graph.
        external: weights lie in a file of their own.
    """

    graph: str
    output: str
    precision: str
    nodes: Sequence[str]
    samples: Sequence[str]
    external: bool


def how_to_install(python: Path | None = None) -> str:
    """Return the one command that makes an environment with ModelOpt."""
    folder = "modelopt" if python is None else str(python.parent.parent)
    requirements = shlex.quote(str(_HERE / "requirements.txt"))
    return (
        f"make its environment: python -m venv {shlex.quote(folder)} &&"
        f" {shlex.quote(f'{folder}/bin/pip')} install -r {requirements}"
    )


def find_versions(python: Path) -> dict[str, str]:
    """Return the versions of ModelOpt and what it works with. Nothing heavy is imported there.

    Args:
        python: the interpreter of ModelOpt's environment.

    Raises:
        ExportError: there is no such interpreter, or a package is missing or too old.
    """
    if not python.is_file() or not os.access(python, os.X_OK):
        raise ExportError(f"--modelopt-python {python} is no program", how_to_install(python))
    try:
        answer = subprocess.run(
            [python, _DRIVER, "--versions"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=60,
            env=_environment(),
        ).stdout
        found = json.loads(answer)
        versions = {name: found[name] for name in _NEEDED}
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        raise ExportError(
            f"--modelopt-python {python} does not run as Python: {error}", how_to_install()
        ) from error
    if missing := [name for name, version in versions.items() if not version]:
        raise ExportError(f"{python} lacks {', '.join(missing)}", how_to_install())
    version = versions["nvidia-modelopt"]
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise ExportError(f"{python} has nvidia-modelopt {version}, it has to be {oldest}", how_to_install())
    return versions


def run(python: Path, job: Job, folder: Path) -> None:
    """Quantize a graph.

    Args:
        python: the interpreter of ModelOpt's environment.
        job: what to do.
        folder: for the files of the job.

    Raises:
        ExportError: ModelOpt fails, or writes no graph. The message has the end of its log.
    """
    place, log = folder / "job.json", folder / "modelopt.log"
    place.write_text(json.dumps(asdict(job)), encoding="utf-8")
    with log.open("wb") as file:
        process = subprocess.Popen(
            [python, _DRIVER, place],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=_environment(),
            # Ctrl-C goes to this process, which ends the other one and all that it started.
            start_new_session=True,
        )
        try:
            status = process.wait()
        except BaseException:
            _end(process)
            raise
    if status != 0 or not Path(job.output).is_file():
        text = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        shown = "\n".join(f"  {line[:300]}" for line in text[-_LINES_SHOWN:]) or "  it printed nothing"
        how = f"ended with status {status}" if status else "wrote no graph"
        raise ExportError(
            f"ModelOpt {how} for {Path(job.graph).name} in {job.precision}:\n{shown}",
            "compare its environment with export/quantizing/requirements.txt",
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _environment() -> dict[str, str]:
    """Return this process's environment without what would lead another Python to this one's packages."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}

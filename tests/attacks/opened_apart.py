"""Opens files in a process of its own, and measures what each of them costs.

Run as `python -m tests.attacks.opened_apart FOLDER`: it prints a line of JSON for each entry of the folder.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

#: Bytes that the process may take besides what it has at its beginning, used or not.
_MOST = 2**30


@dataclass(frozen=True)
class Opened:
    """What came of opening a file.

    Attributes:
        error: the class of the error; "" if there was none.
        seconds: of the processor.
        megabytes: by which the peak of the process has grown since its beginning.
    """

    name: str
    error: str
    message: str
    seconds: float
    megabytes: float


def opened_apart(folder: Path, root: Path) -> dict[str, Opened]:
    """Open every entry of a folder in one other process. Return what came of it, by name."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.attacks.opened_apart", str(folder)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {found["name"]: Opened(**found) for found in map(json.loads, done.stdout.splitlines())}


def _open_all(folder: Path) -> Iterator[Opened]:
    from reference.foreign import open_weights

    with tempfile.TemporaryDirectory() as warm_up:
        (Path(warm_up) / "empty").touch()
        _open(open_weights, Path(warm_up) / "empty", _peak())
    start = _peak()
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + _MOST, size + _MOST))
    for path in sorted(folder.iterdir()):
        yield _open(open_weights, path, start)


def _open(open_weights, path: Path, start: float) -> Opened:
    error: BaseException | None = None
    begin = time.process_time()
    try:
        with open_weights(path):
            pass
    except Exception as caught:
        error = caught
    seconds = time.process_time() - begin
    name = "" if error is None else type(error).__name__
    return Opened(path.name, name, str(error), seconds, _peak() - start)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    for result in _open_all(Path(sys.argv[1])):
        print(json.dumps(asdict(result)), flush=True)

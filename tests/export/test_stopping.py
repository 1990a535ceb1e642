"""A build that is in native code when a signal comes ends soon all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

BUSY = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from odise_trt.cli import boundary
from export import stopping
from export.exclusive import clear_held, exclusively, graph_folder
stopping.GRACE_SECONDS = 0.3
def main():
    place = Path(sys.argv[2]) / "b"
    with stopping.ends_soon(clear_held), exclusively([place], print), graph_folder(place):
        print("busy", flush=True)
        hashlib.pbkdf2_hmac("sha256", b"", b"", 10**10)  # hours, and Python is not asked meanwhile
boundary.run(main)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_during_native_code_ends_the_process_and_leaves_no_folder(
    name: str, root: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY, str(root), str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "busy\n"
    process.send_signal(getattr(signal, name))
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + getattr(signal, name)
    assert errors == f"stopped by {'Ctrl-C' if name == 'SIGINT' else name}\n"
    # The lock of a process that ended holds nobody, and the next build removes its file.
    assert set(os.listdir(tmp_path)) <= {".b.lock"}

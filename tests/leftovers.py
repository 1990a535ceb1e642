"""What a process that was killed leaves behind."""

from __future__ import annotations

import subprocess
import sys


def name_of_a_dead_process() -> str:
    """The name of a file or folder in the making, of a process that is gone."""
    code = "from odise_trt.files.temporary import temporary_name; print(temporary_name())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()

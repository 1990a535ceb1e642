"""What workers of tests do; it imports nothing, so that they begin at once."""

from __future__ import annotations

import time
from pathlib import Path


def announce(folder: str, number: int) -> None:
    """Say that this worker works, and work for a minute."""
    Path(folder, f"ready-{number}").touch()
    time.sleep(60)

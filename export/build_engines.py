"""`odise-trt build` from a checkout: `python export/build_engines.py --preset demo`."""

from __future__ import annotations

import sys
from pathlib import Path

# Run as a file, Python knows the folder of the file and not the repository.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from export.cli import app  # noqa: E402

if __name__ == "__main__":
    app(prog_name="build_engines.py")

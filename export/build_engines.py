"""`odise-trt build` from a checkout: `python export/build_engines.py --preset demo`."""

from __future__ import annotations

import sys
from pathlib import Path

# Run as a file, Python knows the folder of the file and not the repository.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from odise_trt.cli import boundary  # noqa: E402


def main() -> None:
    """Entry point."""
    from export.cli import app

    app(prog_name="build_engines.py")


if __name__ == "__main__":
    boundary.run(main)

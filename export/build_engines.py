"""`python export/build_engines.py` is `odise-trt build`, in a checkout that need not be installed."""

import sys
from pathlib import Path

# Run as a file, Python knows the folder of the file and not the repository.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from odise_trt.cli import door  # noqa: E402

if __name__ == "__main__":
    door("export.cli:build", "build_engines.py")

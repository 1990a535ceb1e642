"""`python export/build_engines.py` is `odise-trt build`. The checkout need not be installed."""

import sys
from pathlib import Path

# When a file is run, Python's path has the folder of the file, not the repository.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from odise_trt.cli import door  # noqa: E402

if __name__ == "__main__":
    door("export.cli:build", "build_engines.py")

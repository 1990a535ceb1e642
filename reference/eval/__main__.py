"""`python -m reference.eval`."""

import sys

from odise_trt.cli import console
from odise_trt.errors import OdiseError
from reference.eval.cli import app

try:
    app(prog_name="python -m reference.eval")
except OdiseError as error:
    console.error(f"{type(error).__name__}: {error}")
    sys.exit(1)

"""A comparison that missed installs nothing, and leaves its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from odise_trt.bundle.manifest import Parity
from odise_trt.errors import ParityError

from ..parity import require
from .exhibits import Exhibits
from .page import write_report


def require_or_report(rows: Sequence[Parity], page: Path, title: str, exhibits: Exhibits) -> None:
    """Raise ParityError if a comparison missed its tolerance, after the report was written to `page`.

    Raises:
        ParityError: as `export.parity.require`. The message names the page.
        OutputError: the page cannot be written.
    """
    try:
        require(rows)
    except ParityError as error:
        write_report(page, rows, f"{title} (not installed)", exhibits.all())
        raise ParityError(f"{error.message}\n  the whole table: {page}", error.hint) from error

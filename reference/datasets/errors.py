"""What goes wrong with data on disk."""

from __future__ import annotations

from odise_trt.errors import OdiseError


class DatasetError(OdiseError):
    """A dataset that is incomplete, laid out differently, or at odds with itself."""

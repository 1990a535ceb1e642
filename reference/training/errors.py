"""Errors of training."""

from __future__ import annotations

from odise_trt.errors import OdiseError


class TrainingError(OdiseError):
    """A training run that cannot start, go on, or be taken up again."""

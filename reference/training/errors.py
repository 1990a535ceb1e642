"""Errors of training."""

from __future__ import annotations

from odise_trt.errors import OdiseError


class TrainingError(OdiseError):
    """A training run that cannot start, go on, or be taken up again."""


class DivergedError(TrainingError):
    """Numbers that are not finite any more: the same recipe would come to the same again."""


class LoaderError(TrainingError):
    """The processes that read images were lost or cannot be started."""

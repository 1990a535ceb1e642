"""The training losses of ODISE: category labels or captions, and masks (arXiv 2303.04803, sec. 3.5).

`training_losses` computes a whole step. `predictions_losses` starts from the feature pyramid.

Importing this package imports no model: names are loaded when they are first used. The processes that read
the images of a training import it, and start in a third of the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from odise_trt.lazy import lazy_names

if TYPE_CHECKING:
    from .batch import Batch, Target
    from .config import LossConfig
    from .random_points import Draws, RandomDraws
    from .set_criterion import Supervision, predictions_losses, supervise
    from .training_step import training_losses, training_pyramid

__all__ = [
    "Batch",
    "Draws",
    "LossConfig",
    "RandomDraws",
    "Supervision",
    "Target",
    "predictions_losses",
    "supervise",
    "training_losses",
    "training_pyramid",
]

_HOMES = {
    "Batch": ".batch",
    "Draws": ".random_points",
    "LossConfig": ".config",
    "RandomDraws": ".random_points",
    "Supervision": ".set_criterion",
    "Target": ".batch",
    "predictions_losses": ".set_criterion",
    "supervise": ".set_criterion",
    "training_losses": ".training_step",
    "training_pyramid": ".training_step",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)

"""The training losses of ODISE: category labels or captions, and masks (arXiv 2303.04803, sec. 3.5).

`training_losses` computes a whole step. `predictions_losses` starts from the feature pyramid.
"""

from reference.losses.batch import Batch, Target
from reference.losses.config import LossConfig
from reference.losses.random_points import Draws, RandomDraws
from reference.losses.set_criterion import Supervision, predictions_losses, supervise
from reference.losses.training_step import training_losses, training_pyramid

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

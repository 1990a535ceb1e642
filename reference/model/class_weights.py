"""The class weights of the training criterion, a tensor of the official checkpoints."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Weight of "no object" in the classification loss.
NO_OBJECT_WEIGHT = 0.1


class ClassWeights(nn.Module):
    """Class weights of the classification loss. The official checkpoints contain them.

    Attributes:
        empty_weight: (classes + 1,), one per class and `NO_OBJECT_WEIGHT` for "no object", last.
    """

    empty_weight: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("empty_weight", torch.empty(classes + 1))
        self.reset()

    def reset(self) -> None:
        """Give `empty_weight` its value."""
        self.empty_weight.fill_(1.0)
        self.empty_weight[-1] = NO_OBJECT_WEIGHT

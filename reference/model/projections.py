"""Projections of the raw diffusion features to the width of the mask head."""

from __future__ import annotations

from torch import Tensor, nn

#: Groups of every GroupNorm here.
GROUPS = 32


class NormedConv2d(nn.Conv2d):
    """A convolution without bias, then GroupNorm."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.GroupNorm(GROUPS, outputs)

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        return self.norm(super().forward(input))


class Bottleneck(nn.Module):
    """Residual bottleneck with GroupNorm; the shortcut is the identity where the widths agree.

    Shapes:
        (B, inputs, H, W) -> (B, outputs, H, W)
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        hidden = outputs // 4
        self.shortcut = None if inputs == outputs else NormedConv2d(inputs, outputs, 1)
        self.conv1 = NormedConv2d(inputs, hidden, 1)
        self.conv2 = NormedConv2d(hidden, hidden, 3)
        self.conv3 = NormedConv2d(hidden, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        residual = x if self.shortcut is None else self.shortcut(x)
        x = self.conv2(self.conv1(x).relu()).relu()
        return (self.conv3(x) + residual).relu()

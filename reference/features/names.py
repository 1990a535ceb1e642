"""Names of the features that are drawn. This module does not import torch."""

from __future__ import annotations

#: The features drawn by default: those of the UNet, coarse to fine.
UNET_FEATURES = ("un2", "un5", "un8", "un11")

"""The names of the diffusion features. This module does not import torch."""

from __future__ import annotations

#: Raw features in the order in which the diffusion model returns them: the encoder of the autoencoder, the
#: UNet (un8 is the input of its output block 8), the decoder of the autoencoder.
FEATURES = ("enc5", "enc7", "un2", "un5", "un8", "un11", "dec2", "dec5")
#: The features drawn by default: those of the UNet, coarse to fine.
UNET_FEATURES = ("un2", "un5", "un8", "un11")

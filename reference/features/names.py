"""The names of the diffusion features; apart, since listing them needs no torch."""

from __future__ import annotations

#: Raw features in the order the diffusion model hands them out: the encoder of the autoencoder, the UNet
#: (un8 is what its output block 8 reads), the decoder of the autoencoder.
FEATURES = ("enc5", "enc7", "un2", "un5", "un8", "un11", "dec2", "dec5")
#: What is drawn if nothing else is requested: the UNet's features, coarse to fine.
UNET_FEATURES = ("un2", "un5", "un8", "un11")

"""The frozen diffusion features of a photo, their regions, and pictures of them (ODISE, Fig. 1 and B.1)."""

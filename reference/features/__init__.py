"""The frozen diffusion features of a photo, their clusters, and pictures of them (ODISE, Fig. 1 and B.1)."""

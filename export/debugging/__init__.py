"""Finding what is wrong with a build that misses its tolerance."""

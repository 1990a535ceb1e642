"""Weights on disk: the official names, the file format, seeded weights, and those that are shipped."""

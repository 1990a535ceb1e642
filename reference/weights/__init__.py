"""Weights on disk: official names, file format, seeded random weights, and the shipped demo weights."""

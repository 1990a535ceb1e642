"""Measurements of engines and the reference, on the same images in the same run."""

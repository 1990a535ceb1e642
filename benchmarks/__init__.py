"""Measurements: engines beside the reference, on the same images in the same run."""

"""Panoptic quality, mean intersection over union, average precision: each an accumulator with `add` and
`result`, fed one image at a time.

Scores are percentages, 0 to 100; None where there was nothing to score.
"""

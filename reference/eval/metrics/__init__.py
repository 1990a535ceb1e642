"""Panoptic quality, mean intersection over union and average precision.

Each metric has `add`, called once per image, and `result`. Scores are percentages, 0 to 100, or None if there
is nothing to score.
"""

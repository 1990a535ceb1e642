"""The tasks: what a segmentation gives."""

from __future__ import annotations

from typing import Literal, get_args

#: Each pixel in at most one segment; each pixel a category; objects with masks that may overlap.
Task = Literal["panoptic", "semantic", "instance"]
TASKS: tuple[Task, ...] = get_args(Task)

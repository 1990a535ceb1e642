"""The tasks of a segmentation."""

from __future__ import annotations

from typing import Literal, get_args

#: panoptic: each pixel is in at most one segment. semantic: each pixel has a category. instance: objects with
#: masks that may overlap.
Task = Literal["panoptic", "semantic", "instance"]
TASKS: tuple[Task, ...] = get_args(Task)

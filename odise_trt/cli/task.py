"""The choices of --task."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from ..task import TASKS, Task

if TYPE_CHECKING:
    #: For the type checker a choice is the text that it stands for.
    TaskName = Task
else:
    TaskName = StrEnum("TaskName", {task: task for task in TASKS})


def task_of(name: TaskName) -> Task:
    """Return the task as a plain text, which results and records hold."""
    return TASKS[TASKS.index(name)]

"""The choices of --task."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from ..task import TASKS, Task

if TYPE_CHECKING:
    #: For the type checker, a choice is its text.
    TaskName = Task
else:
    TaskName = StrEnum("TaskName", {task: task for task in TASKS})


def task_of(name: TaskName) -> Task:
    """Return the task as plain text, as it is stored in results and records."""
    return TASKS[TASKS.index(name)]

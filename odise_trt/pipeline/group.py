"""Several pictures of one size together: steps over windows take those of all, other steps run for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from .sizes import SizedStep, has_windows
from .step import HOST, PICTURE, WINDOWS, Pipeline, Step


def can_group(pipeline: Pipeline) -> bool:
    """Whether the steps over windows can take those of several pictures.

    They must take and give nothing of a picture but its windows, and there must be such steps.
    """
    over = [step for step in pipeline.steps if step.repeat == WINDOWS]
    return bool(over) and all(_takes_windows_only(pipeline, step) for step in over) and _agree(pipeline)


def _takes_windows_only(pipeline: Pipeline, step: Step) -> bool:
    spec = pipeline.stages[step.stage]
    if step.carried or not all(map(step.is_repeated, spec.outputs)):
        return False
    for tensor in spec.inputs:
        wiring = step.inputs[tensor.name]
        # What the host gives is the same for all pictures of a size, but has the windows of one.
        if wiring == PICTURE or step.is_repeated(tensor) == _is_given(wiring):
            return False
    return True


def _agree(pipeline: Pipeline) -> bool:
    """Whether steps take for windows what other steps give as windows."""
    given = {
        f"{step.stage}.{tensor.name}": has_windows(tensor)
        for step in pipeline.steps
        for tensor in pipeline.stages[step.stage].outputs
    }
    return all(
        given[step.inputs[tensor.name]] == has_windows(tensor)
        for step in pipeline.steps
        for tensor in pipeline.stages[step.stage].inputs
        if tensor.name in step.inputs and not _is_given(step.inputs[tensor.name])
    )


def _is_given(wiring: str) -> bool:
    return wiring.partition(".")[0] in HOST


def group_steps(steps: Sequence[SizedStep], pictures: int) -> tuple[SizedStep, ...]:
    """Return the steps of a group of pictures.

    Tensors whose rows are windows are those of all pictures, one after the other. Steps over windows run
    once. Between them, all steps of one picture come before those of the next: so the large tensors of one
    are gone when those of the next are made.

    Args:
        steps: those of one picture.
        pictures: how many there are. The steps of one picture stay as they are.
    """
    if pictures == 1:
        return tuple(steps)
    grouped: list[SizedStep] = []
    for together, group in groupby(steps, lambda one: one.step.repeat == WINDOWS):
        some = list(group)
        if together:
            for one in some:
                sizes = {**one.sizes, WINDOWS: pictures * one.sizes[WINDOWS]}
                grouped.append(replace(one, sizes=sizes, pictures=pictures))
        else:
            grouped += [replace(one, picture=n, pictures=pictures) for n in range(pictures) for one in some]
    return tuple(grouped)

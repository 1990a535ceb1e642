"""One run of a stage: where its inputs come from, how often it runs, and for which tasks.

Stages are declared in `export/stages`, each with its step. A build writes the steps into the manifest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from ..files.typed_json import MisfitError, choice
from ..stage_spec import StageSpec, Tensor, split_dimension
from ..task import TASKS, Task

#: What the host gives: tensors of the picture and its size, of the vocabulary, and of the request.
HOST = ("picture", "vocabulary", "request")
#: What each picture has for itself of that: its pixels.
PICTURE = "picture.picture"
WINDOWS, ROWS = "windows", "rows"
#: Axes that a step can be repeated over.
REPEATS = (WINDOWS, ROWS)


@dataclass(frozen=True)
class Step:
    """A stage in the pipeline.

    Attributes:
        stage: its name.
        inputs: name of an input -> "source.tensor". The source is a stage of an earlier step, or one of
            `HOST`.
        tasks: the tasks that need the step. Empty: all.
        repeat: the axis that the step is repeated over, "windows" or "rows". Inputs and outputs whose first
            dimension is this axis are taken and filled part by part. All others are the same in each run.
        carried: output -> the input of the next run that it becomes. The first run gets zeros. After the last
            run, the output is the step's. For sums over the repeats.
    """

    stage: str
    inputs: Mapping[str, str]
    tasks: tuple[Annotated[str, choice(*TASKS)], ...] = ()
    repeat: Annotated[str, choice(*REPEATS)] | None = None
    carried: Mapping[str, str] = field(default_factory=dict)

    def serves(self, tasks: Iterable[Task]) -> bool:
        """Whether one of the tasks needs the step."""
        return not self.tasks or not set(self.tasks).isdisjoint(tasks)

    def is_repeated(self, tensor: Tensor) -> bool:
        """Whether the runs of this step take or fill the tensor part by part."""
        first = tensor.shape[0] if tensor.shape else 1
        return self.repeat is not None and isinstance(first, str) and split_dimension(first)[0] == self.repeat


@dataclass(frozen=True)
class Pipeline:
    """Steps in the order they run, with the declarations of their stages."""

    steps: tuple[Step, ...]
    stages: Mapping[str, StageSpec]

    def check(self) -> None:
        """Raise MisfitError unless every input is there when it is needed, in the declared dtype.

        A source that serves a task must itself run for that task.
        """
        done: dict[str, Step] = {}
        for number, step in enumerate(self.steps):
            place = f"pipeline[{number}]"
            if step.stage not in self.stages:
                raise MisfitError(place, f"names the stage {step.stage!r:.60}, which the bundle lacks")
            if step.stage in done:
                raise MisfitError(place, f"runs {step.stage!r:.60} for the second time")
            self._check_inputs(place, step, done)
            done[step.stage] = step

    def for_tasks(self, tasks: Iterable[Task]) -> tuple[Step, ...]:
        """Return the steps that these tasks need."""
        wanted = tuple(tasks)
        return tuple(step for step in self.steps if step.serves(wanted))

    def _check_inputs(self, place: str, step: Step, done: Mapping[str, Step]) -> None:
        spec = self.stages[step.stage]
        inputs = {tensor.name: tensor for tensor in spec.inputs}
        outputs = {tensor.name: tensor for tensor in spec.outputs}
        for output, back in step.carried.items():
            same = output in outputs and back in inputs and outputs[output].shape == inputs[back].shape
            if not same or outputs[output].dtype != inputs[back].dtype:
                raise MisfitError(place, f"carries {output!r:.60} to {back!r:.60}, which is not the same")
        needed = inputs.keys() - set(step.carried.values())
        if needed != step.inputs.keys():
            differ = ", ".join(sorted(needed ^ step.inputs.keys()))
            raise MisfitError(place, f"and stage {step.stage} do not have the same inputs: {differ:.120}")
        for name, wiring in step.inputs.items():
            source, _, tensor = wiring.partition(".")
            if source in HOST:
                continue
            if source not in done:
                raise MisfitError(place, f"takes {name} from {wiring!r:.60}, which no earlier step gives")
            given = {one.name: one for one in self.stages[source].outputs}.get(tensor)
            if given is None or given.dtype != inputs[name].dtype:
                raise MisfitError(place, f"takes {name} from {wiring!r:.60}, which is no such tensor")
            if done[source].tasks and not set(step.tasks or TASKS) <= set(done[source].tasks):
                raise MisfitError(place, f"takes {name} from {wiring!r:.60}, which not every task runs")

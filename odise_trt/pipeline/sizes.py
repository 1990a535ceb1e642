"""The shapes of all tensors of a pipeline, from those that the host gives for one picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import BackendError
from ..stage_spec import StageSpec, Tensor, learn_sizes
from .step import HOST, Pipeline, Step

Shape = tuple[int, ...]


@dataclass(frozen=True)
class SizedStep:
    """A step with the sizes of one picture.

    Attributes:
        step: the step.
        spec: the declaration of its stage.
        sizes: axis -> size. The size of the axis that the step is repeated over is that of all runs together.
    """

    step: Step
    spec: StageSpec
    sizes: Mapping[str, int]

    @property
    def runs_over(self) -> int:
        """The whole size of the axis that the step is repeated over. 1: it runs once."""
        return 1 if self.step.repeat is None else self.sizes[self.step.repeat]

    def shape(self, tensor: Tensor) -> Shape:
        """Return the shape of an input or output, of all runs together."""
        return tensor.resolve(self.sizes)

    def part(self, tensor: Tensor, count: int) -> Shape:
        """Return the shape of an input or output in a run that takes `count` of the repeated axis."""
        if not self.step.is_repeated(tensor):
            return self.shape(tensor)
        return (count, *self.shape(tensor)[1:])


def size_steps(
    pipeline: Pipeline, steps: Iterable[Step], given: Mapping[str, Shape]
) -> tuple[SizedStep, ...]:
    """Work out the sizes of every axis, step by step.

    Args:
        pipeline: declares the stages.
        steps: those that run, in order.
        given: "source.tensor" of the host -> its shape.

    Raises:
        BackendError: the host does not give a tensor that a step takes, or shapes contradict each other.
    """
    known = dict(given)
    sized = []
    for step in steps:
        spec = pipeline.stages[step.stage]
        sizes: dict[str, int] = {}
        for tensor in spec.inputs:
            wiring = step.inputs.get(tensor.name)
            if wiring is None:
                continue  # carried from run to run, with axes that other inputs have
            if wiring not in known:
                source = "the host" if wiring.partition(".")[0] in HOST else "an earlier step"
                raise BackendError(f"stage {spec.name} takes {wiring}, which {source} does not give")
            learn_sizes(spec, tensor, known[wiring], sizes)
        one = SizedStep(step, spec, sizes)
        for tensor in spec.outputs:
            try:
                known[f"{step.stage}.{tensor.name}"] = one.shape(tensor)
            except (KeyError, ValueError) as error:
                raise BackendError(
                    f"stage {spec.name}: the inputs do not say how large {tensor.name} is: {error}"
                ) from error
        sized.append(one)
    return tuple(sized)

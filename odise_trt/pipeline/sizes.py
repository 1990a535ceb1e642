"""The shapes of all tensors of a pipeline, from those that the host gives for one picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import BackendError
from ..stage_spec import StageSpec, Tensor, learn_sizes, split_dimension
from .step import HOST, PICTURE, WINDOWS, Pipeline, Step

Shape = tuple[int, ...]


@dataclass(frozen=True)
class SizedStep:
    """A step with the sizes of one picture, or of a group of pictures, see `group_steps`.

    Attributes:
        step: the step.
        spec: the declaration of its stage.
        sizes: axis -> size. The size of the axis that the step is repeated over is that of all runs together.
        picture: the place of its picture in the group, from 0. None: the step runs for all pictures together.
        pictures: how many pictures the group has.
    """

    step: Step
    spec: StageSpec
    sizes: Mapping[str, int]
    picture: int | None = None
    pictures: int = 1

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

    def source(self, tensor: Tensor) -> str:
        """Return the name of what an input is taken from. The host gives the pixels of each picture."""
        wiring = self.step.inputs[tensor.name]
        shared = self._is_given(tensor) and wiring != PICTURE
        return wiring if shared or has_windows(tensor) else named(wiring, self.picture)

    def target(self, tensor: Tensor) -> str:
        """Return the name of what an output becomes."""
        return f"{self.step.stage}.{tensor.name}" if has_windows(tensor) else self.own(tensor.name)

    def own(self, name: str) -> str:
        """Return the name of a tensor that only this step has, for its picture."""
        return named(f"{self.step.stage}.{name}", self.picture)

    def whole(self, tensor: Tensor) -> Shape:
        """Return the shape of what an output becomes: with the windows of all pictures of the group."""
        shape = self.shape(tensor)
        return (shape[0] * self.pictures, *shape[1:]) if self.rows(tensor) else shape

    def rows(self, tensor: Tensor) -> tuple[int, int] | None:
        """Return the first and the last row, exclusive, of a picture's windows among those of its group.

        None: the step takes or fills the whole tensor.
        """
        if self.picture is None or self._is_given(tensor) or not has_windows(tensor):
            return None
        count = self.shape(tensor)[0]
        return self.picture * count, (self.picture + 1) * count

    def _is_given(self, tensor: Tensor) -> bool:
        return self.step.inputs.get(tensor.name, "").partition(".")[0] in HOST


def has_windows(tensor: Tensor) -> bool:
    """Whether a row of the tensor is a window. Those of a group of pictures are one tensor."""
    first = tensor.shape[0] if tensor.shape else 1
    return isinstance(first, str) and split_dimension(first)[0] == WINDOWS


def named(name: str, picture: int | None) -> str:
    """Return the name of a tensor of one picture of a group. That of the first, or of all, is plain."""
    return f"{name} of picture {picture + 1}" if picture else name


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

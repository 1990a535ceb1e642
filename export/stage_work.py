"""What a stage has to do, counted on a model without numbers: weights, layers, operations, largest tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from reference.model import ODISE
from reference.model.allocation import SkipInitialisation
from reference.preset import Preset

from .onnx_export import trace_sizes
from .stages import StageWrapper, all_stages

Count = Callable[[StageWrapper, Preset], Mapping[int, int]]


@dataclass(frozen=True)
class StageWork:
    """What a stage has to do.

    Attributes:
        leaves: modules without modules inside.
        weights: numbers in the parameters and buffers that it uses: identity -> how many. Stages that share a
            tensor have the same identity.
        flop: floating-point operations of one run, for one of what it takes in batches, at the typical size.
        largest: bytes of its largest tensor in that run, in float32.
    """

    leaves: int
    weights: Mapping[int, int]
    flop: float
    largest: int


def work_of(preset: Preset, names: Iterable[str]) -> tuple[int, dict[str, StageWork]]:
    """Count what stages have to do. It takes seconds, and no memory for weights.

    Returns:
        The bytes of the whole model in float32, and the work of each stage.
    """
    with _model(preset) as model:
        whole = 4 * sum({id(t): t.numel() for t in (*model.parameters(), *model.buffers())}.values())
        return whole, {name: _work(all_stages()[name](model).eval(), preset) for name in names}


def weights_of(preset: Preset, names: Iterable[str], count: Count) -> dict[str, Mapping[int, int]]:
    """Count the numbers in the weights of stages with `held` or `used`: stage -> identity -> how many."""
    with _model(preset) as model:
        return {name: count(all_stages()[name](model).eval(), preset) for name in names}


def names_used(preset: Preset, names: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return the parameters and buffers that stages use, by their names in the model. It takes seconds."""
    with _model(preset) as model:
        known = {id(value): name for name, value in model.state_dict(keep_vars=True).items()}
        found = {name: used(all_stages()[name](model).eval(), preset) for name in names}
        return {name: frozenset(known[key] for key in keys if key in known) for name, keys in found.items()}


def held(stage: StageWrapper, preset: Preset) -> dict[int, int]:
    """Count the numbers in all modules of a stage, used or not. A stage may use only half of a CLIP."""
    return {key: value.numel() for key, value in _tensors(stage).items()}


def used(stage: StageWrapper, preset: Preset) -> dict[int, int]:
    """Count the numbers in the parameters and buffers that a stage uses."""
    found = _run(stage, preset, trace_sizes(stage.declare(preset)))
    return held(stage, preset) if found is None else dict(found.weights)


def _work(stage: StageWrapper, preset: Preset) -> StageWork:
    sizes = {
        axis.name: axis.typical if axis.multiple > 1 else axis.minimum for axis in stage.declare(preset).axes
    }
    leaves = sum(not any(module.children()) for module in stage.modules())
    # Stages whose sizes depend on each other have none of their own here. They have no weights either.
    found = None if stage.sizes(preset) else _run(stage, preset, sizes)
    if found is None:
        return StageWork(leaves, held(stage, preset), 0.0, 0)
    return StageWork(leaves, found.weights, found.flop, found.largest)


@contextmanager
def _model(preset: Preset) -> Iterator[ODISE]:
    with torch.device("meta"), torch.no_grad(), SkipInitialisation():
        yield ODISE(preset)


def _run(stage: StageWrapper, preset: Preset, sizes: Mapping[str, int]) -> StageWork | None:
    """Run a stage without numbers. None: some of its operators do not run without them."""
    known = _tensors(stage)
    spec = stage.declare(preset).at("fp32")
    inputs = [torch.zeros(t.resolve(sizes), dtype=getattr(torch, t.dtype)) for t in spec.inputs]
    with _Operations() as operations, _Uses(known) as uses:
        try:
            stage(*inputs)
        except RuntimeError:
            return None
    weights = {key: known[key].numel() for key in uses.found}
    return StageWork(0, weights, operations.flop, operations.largest)


def _tensors(stage: StageWrapper) -> dict[int, Tensor]:
    return {id(value): value for value in (*stage.parameters(), *stage.buffers())}


class _Operations(TorchDispatchMode):
    """Counts floating-point operations and finds the largest result."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flop, self.largest = 0.0, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        # A transposed weight is a view, not a tensor of its own.
        if isinstance(result, Tensor) and func._schema.returns[0].alias_info is None:
            self.largest = max(self.largest, result.numel() * result.element_size())
        if (count := flop_registry.get(func.overloadpacket)) is not None:
            self.flop += count(*args, **(kwargs or {}), out_val=result)
        return result


class _Uses(TorchFunctionMode):
    """Records which of the given tensors are used."""

    def __init__(self, tensors: Mapping[int, Tensor]) -> None:
        super().__init__()
        self._tensors = tensors
        self.found: set[int] = set()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        self._look((*args, *kwargs.values()))
        return func(*args, **kwargs)

    def _look(self, values: Iterable[Any]) -> None:
        for value in values:
            if isinstance(value, list | tuple):
                self._look(value)
            elif id(value) in self._tensors:
                self.found.add(id(value))

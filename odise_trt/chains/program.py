"""A plan with addresses: the runs of the engines in order, ready to be queued as often as wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..backends.cuda import Cuda
from ..backends.device import DeviceEngine, DeviceTensor
from ..executor import errors_of
from ..pipeline.arena import ALIGNMENT, part_name, parts_are_aligned
from ..pipeline.sizes import SizedStep
from ..stage_spec import Tensor
from .plan import Plan


@dataclass(frozen=True)
class Launch:
    """One run of an engine."""

    engine: DeviceEngine
    inputs: Mapping[str, DeviceTensor]
    outputs: Mapping[str, DeviceTensor]

    def queue(self, cuda: Cuda) -> None:
        """Queue it."""
        with errors_of(self.engine.spec.name):
            self.engine.enqueue(self.inputs, self.outputs)


@dataclass(frozen=True)
class Clear:
    """Zeros, for what a first run is given as carried."""

    target: DeviceTensor

    def queue(self, cuda: Cuda) -> None:
        """Queue it."""
        cuda.clear(self.target.address, self.target.nbytes)


@dataclass(frozen=True)
class Copy:
    """A part of a tensor to or from an aligned place."""

    target: DeviceTensor
    source: DeviceTensor

    def queue(self, cuda: Cuda) -> None:
        """Queue it."""
        cuda.copy(self.target.address, self.source.address, self.source.nbytes)


Operation = Launch | Clear | Copy


@dataclass(frozen=True)
class Program:
    """Operations in order."""

    operations: tuple[Operation, ...]

    def queue(self, cuda: Cuda) -> None:
        """Queue everything on the stream of the engines. Nothing is waited for."""
        for operation in self.operations:
            operation.queue(cuda)

    def queue_first(self, cuda: Cuda) -> None:
        """Queue the first run of an engine only."""
        next(one for one in self.operations if isinstance(one, Launch)).queue(cuda)

    def keep(self) -> None:
        """Prepare every engine for recording, see `DeviceEngine.keep`."""
        for engine, shapes in self._shapes():
            engine.keep(shapes)

    def release(self) -> None:
        """Undo `keep`."""
        for engine, shapes in self._shapes():
            engine.release(shapes)

    def can_be_recorded(self) -> bool:
        """Whether every engine can be recorded, see `DeviceEngine.can_be_recorded`."""
        return all(engine.can_be_recorded(shapes) for engine, shapes in self._shapes())

    def _shapes(self) -> Iterator[tuple[DeviceEngine, dict[str, tuple[int, ...]]]]:
        for one in self.operations:
            if isinstance(one, Launch):
                yield one.engine, {name: tensor.shape for name, tensor in one.inputs.items()}


def bind(
    plan: Plan, engines: Mapping[str, DeviceEngine], arena: int, tensors: Mapping[str, DeviceTensor]
) -> Program:
    """Give every tensor of a plan its address.

    Args:
        plan: the plan.
        engines: stage -> its engine.
        arena: the address of its arena.
        tensors: "source.tensor" -> what the host gives, and what it reads at the end.
    """
    return Program(tuple(_Binder(plan, engines, arena, tensors).operations()))


class _Binder:
    def __init__(
        self,
        plan: Plan,
        engines: Mapping[str, DeviceEngine],
        arena: int,
        tensors: Mapping[str, DeviceTensor],
    ) -> None:
        self._plan, self._engines, self._arena = plan, engines, arena
        self._tensors = dict(tensors)

    def operations(self) -> Iterator[Operation]:
        for one in self._plan.steps:
            for tensor in one.spec.outputs:
                name = one.target(tensor)
                if name not in self._tensors:
                    self._tensors[name] = self._in_arena(name, tensor.dtype, one.whole(tensor))
            yield from self._runs(one)

    def _runs(self, one: SizedStep) -> Iterator[Operation]:
        stage, whole = one.step.stage, one.runs_over
        per_run = min(self._plan.per_run.get(stage, 1), whole)
        starts = range(0, whole, per_run)
        carried = {
            output: (self._tensors[one.own(output)], self._carried(one, output))
            for output in one.step.carried
        }
        for number, start in enumerate(starts):
            # The last run writes to the tensor itself, the one before to the other memory, and so on.
            turn = (len(starts) - 1 - number) % 2
            stop = min(start + per_run, whole)
            inputs, outputs = {}, {}
            after = []
            for tensor in one.spec.inputs:
                if tensor.name in one.step.inputs:
                    piece = self._piece(one, tensor, one.source(tensor), start, stop)
                    inputs[tensor.name] = part = self._aligned(one, tensor, piece)
                    if part is not piece:
                        yield Copy(part, piece)
            for output, back in one.step.carried.items():
                outputs[output], inputs[back] = carried[output][turn], carried[output][1 - turn]
                if number == 0:
                    yield Clear(inputs[back])
            for tensor in one.spec.outputs:
                if tensor.name not in outputs:
                    piece = self._piece(one, tensor, one.target(tensor), start, stop)
                    outputs[tensor.name] = part = self._aligned(one, tensor, piece)
                    if part is not piece:
                        after.append(Copy(piece, part))
            yield Launch(self._engines[stage], inputs, outputs)
            yield from after

    def _piece(self, one: SizedStep, tensor: Tensor, name: str, start: int, stop: int) -> DeviceTensor:
        """Return what a run takes of a tensor, where it lies. Of a group, it is the picture's part."""
        whole, rows = self._tensors[name], one.rows(tensor)
        if rows is not None:
            whole = whole.part(*rows)
        return whole.part(start, stop) if one.step.is_repeated(tensor) else whole

    def _aligned(self, one: SizedStep, tensor: Tensor, piece: DeviceTensor) -> DeviceTensor:
        """Return the piece, or room for it at an aligned address."""
        if parts_are_aligned(one, tensor, self._plan.per_run.get(one.step.stage, 1)):
            return piece
        return self._in_arena(part_name(one, tensor), tensor.dtype, piece.shape)

    def _carried(self, one: SizedStep, output: str) -> DeviceTensor:
        whole = self._tensors[one.own(output)]
        return self._in_arena(one.own(one.step.carried[output]), whole.dtype, whole.shape)

    def _in_arena(self, name: str, dtype: str, shape: tuple[int, ...]) -> DeviceTensor:
        address = self._arena + self._plan.arena.offsets[name]
        assert address % ALIGNMENT == 0
        return DeviceTensor(address, dtype, shape)

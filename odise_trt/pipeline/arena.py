"""One piece of memory for all tensors between the steps, planned before the first step runs.

A tensor lives from the step that makes it to the last step that reads it. Tensors that never live at the
same time may share memory. Finding the smallest arena is hard in general (dynamic storage allocation).
Placing the largest tensors first is simple, and comes close to the lower bound on real pipelines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..stage_spec import Tensor, bytes_of
from .sizes import SizedStep

#: Addresses of tensors are multiples of this: TensorRT asks for 256 bytes.
ALIGNMENT = 256


def aligned(size: int) -> int:
    """Return the room of so many bytes: the next multiple of the alignment, at least one."""
    return -(-max(size, 1) // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class Block:
    """A tensor that needs memory for some time.

    Attributes:
        name: "stage.tensor".
        bytes: its size, without alignment.
        first, last: the first and the last step that use it.
    """

    name: str
    bytes: int
    first: int
    last: int

    @property
    def room(self) -> int:
        """Its size in the arena: a multiple of the alignment."""
        return aligned(self.bytes)

    def meets(self, other: Block) -> bool:
        """Whether some step uses both."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Arena:
    """Where every tensor lies.

    Attributes:
        offsets: "stage.tensor" -> its first byte, a multiple of `ALIGNMENT`.
        bytes: the size of the arena.
        least: the most bytes that live at the same time. No arena can be smaller.
    """

    offsets: Mapping[str, int]
    bytes: int
    least: int


def lifetimes(
    steps: Sequence[SizedStep], per_run: Mapping[str, int], kept: Iterable[str] = ()
) -> tuple[Block, ...]:
    """Return the tensors that the steps make, with the time that each is needed.

    A carried output has a second block, under the name of the input that it becomes: the runs of the step
    write to both in turns. A tensor whose parts cannot all be aligned has a second block for one part.

    Args:
        steps: with the sizes of one picture, or of a group.
        per_run: stage of a repeated step -> how much of the repeated axis a run takes.
        kept: "stage.tensor" of those that get memory elsewhere. They are left out.
    """
    last: dict[str, int] = {}
    for number, one in enumerate(steps):
        for tensor in one.spec.inputs:
            if tensor.name in one.step.inputs:
                last[one.source(tensor)] = number
        for tensor in one.spec.outputs:
            last[one.target(tensor)] = number
    done = set(kept)
    blocks = []
    for number, one in enumerate(steps):
        for tensor in one.spec.outputs:
            name = one.target(tensor)
            if name not in done:
                done.add(name)
                blocks.append(Block(name, bytes_of(tensor.dtype, one.whole(tensor)), number, last[name]))
            if tensor.name in one.step.carried:
                size = bytes_of(tensor.dtype, one.shape(tensor))
                blocks.append(Block(one.own(one.step.carried[tensor.name]), size, number, number))
        count = per_run.get(one.step.stage, 1)
        for tensor in (*one.spec.inputs, *one.spec.outputs):
            if not parts_are_aligned(one, tensor, count):
                size = bytes_of(tensor.dtype, one.part(tensor, count))
                blocks.append(Block(part_name(one, tensor), size, number, number))
    return tuple(blocks)


def parts_are_aligned(one: SizedStep, tensor: Tensor, per_run: int) -> bool:
    """Whether every run of a step finds its part of an aligned tensor at an aligned address."""
    if one.rows(tensor):
        return bytes_of(tensor.dtype, one.shape(tensor)) % ALIGNMENT == 0
    if not one.step.is_repeated(tensor) or one.runs_over <= per_run:
        return True
    return bytes_of(tensor.dtype, one.part(tensor, per_run)) % ALIGNMENT == 0


def part_name(one: SizedStep, tensor: Tensor) -> str:
    """Return the name of the block that holds one part of a tensor."""
    return f"{one.own(tensor.name)} part"


def place(blocks: Sequence[Block]) -> Arena:
    """Give every block an offset, the largest first. No two that live at the same time overlap."""
    placed: list[tuple[int, Block]] = []
    for block in sorted(blocks, key=lambda one: (-one.room, one.first, one.name)):
        taken = sorted((offset, offset + one.room) for offset, one in placed if one.meets(block))
        start = 0
        for low, high in taken:
            if low - start >= block.room:
                break
            start = max(start, high)
        placed.append((start, block))
    most = max((offset + block.room for offset, block in placed), default=0)
    return Arena({block.name: offset for offset, block in placed}, most, _least(blocks))


def _least(blocks: Sequence[Block]) -> int:
    moments = {block.first for block in blocks}
    return max((sum(b.room for b in blocks if b.first <= at <= b.last) for at in moments), default=0)

"""What pictures of a size need on a device, and how much of them runs at once. No memory is touched here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..backends.device import DeviceEngine
from ..pipeline import Pipeline
from ..pipeline.arena import Arena, lifetimes, place
from ..pipeline.group import group_steps
from ..pipeline.sizes import Shape, SizedStep, named, size_steps
from ..pipeline.step import ROWS, WINDOWS
from ..stage_spec import bytes_of
from ..task import Task

#: Bytes that a tensor of a block of rows may have. More save no launches worth naming.
_BLOCK = 2**28


@dataclass(frozen=True)
class Plan:
    """The steps of a picture, or of a group of pictures, with their sizes and their memory.

    Attributes:
        steps: in order.
        per_run: stage of a repeated step -> windows or rows that a run takes.
        arena: where the tensors between the steps lie.
        scratch: stage -> bytes of scratch memory of one run.
        kept: "stage.tensor" -> shape and dtype, of what the host reads at the end.
        wanted, allowed: as `per_run`, if memory were no question, and as it was before this plan.
    """

    steps: tuple[SizedStep, ...]
    per_run: Mapping[str, int]
    arena: Arena
    scratch: Mapping[str, int]
    kept: Mapping[str, tuple[Shape, str]]
    wanted: Mapping[str, int]
    allowed: Mapping[str, int]

    @property
    def reduced(self) -> dict[str, int]:
        """ "windows" and "rows", where a step takes fewer than wanted -> the fewest that one takes."""
        found: dict[str, int] = {}
        for one in self.steps:
            axis, count = one.step.repeat, self.per_run.get(one.step.stage, 0)
            if axis is not None and count < self.wanted[one.step.stage]:
                found[axis] = min(count, found.get(axis, count))
        return found

    @property
    def most_scratch(self) -> int:
        """What the hungriest stage needs. Runs follow each other, so all share it."""
        return max(self.scratch.values(), default=0)

    @property
    def bytes(self) -> int:
        """Device memory of everything that the steps make, and of the engines' scratch memory."""
        return self.arena.bytes + self.most_scratch + self.kept_bytes

    @property
    def kept_bytes(self) -> int:
        """Bytes that the host reads."""
        return sum(bytes_of(dtype, shape) for shape, dtype in self.kept.values())


def make_plan(
    pipeline: Pipeline,
    tasks: Sequence[Task],
    given: Mapping[str, Shape],
    kept: Iterable[str],
    engines: Mapping[str, DeviceEngine],
    at_once: Mapping[str, int],
    budget: int,
    allowed: Mapping[str, int] | None = None,
    pictures: int = 1,
) -> Plan:
    """Plan a picture, or a group of pictures of one size.

    Windows and blocks of rows run at once as far as the engines and the memory allow.

    Args:
        pipeline: the bundle's.
        tasks: those that are wanted.
        given: shapes of what the host gives.
        kept: "stage.tensor" of what the host reads. Those that these tasks do not make are left out.
        engines: stage -> its engine.
        at_once: "windows", "rows" -> at most so many per run.
        budget: bytes of device memory. A plan that needs more is returned all the same, if nothing can be
            made smaller.
        allowed: as `at_once`, after memory ran out before. None: the same.
        pictures: how many there are.

    Raises:
        BackendError: shapes do not fit the stages, or no profile holds them.
    """
    sized = group_steps(size_steps(pipeline, pipeline.for_tasks(tasks), given), pictures)
    made = {
        one.target(tensor): (one.whole(tensor), tensor.dtype) for one in sized for tensor in one.spec.outputs
    }
    names = [named(name, number) for name in kept for number in range(pictures)]
    reads = {name: made[name] for name in names if name in made}
    wanted, before = (
        {one.step.stage: _per_run(one, most) for one in sized if one.step.repeat is not None}
        for most in (at_once, allowed or at_once)
    )
    limits = dict(before)
    while True:
        arena = place(lifetimes(sized, limits, reads))
        scratch = {one.step.stage: _scratch(one, engines[one.step.stage], limits) for one in sized}
        plan = Plan(sized, dict(limits), arena, scratch, reads, wanted, before)
        hungriest = max(scratch, key=lambda name: scratch[name], default="")
        if plan.bytes <= budget or limits.get(hungriest, 1) <= 1:
            return plan
        limits[hungriest] = -(-limits[hungriest] // 2)


def most_pictures(steps: Iterable[SizedStep], at_once: Mapping[str, int]) -> int:
    """Return the most pictures, at least 1, whose windows are taken by one run.

    Args:
        steps: those of one picture.
        at_once: "windows" -> at most so many per run.
    """
    counts = [
        min(at_once[WINDOWS], _largest(one, WINDOWS)) // one.runs_over
        for one in steps
        if one.step.repeat == WINDOWS
    ]
    return max(1, min(counts, default=1))


def _per_run(one: SizedStep, most: Mapping[str, int]) -> int:
    """Return how much of the repeated axis a run takes if there is memory enough."""
    axis = str(one.step.repeat)
    limit = min(most[axis], one.runs_over, _largest(one, axis))
    if axis == ROWS:
        # A run has tensors with a number for each row, column, and query or category.
        counts = [one.sizes.get("categories", 1)]
        for tensor in one.spec.inputs:
            counts += [size for size in tensor.shape if isinstance(size, int)]
        row = 4 * max(counts) * one.sizes.get("output_width", 1)
        limit = min(limit, max(1, _BLOCK // row))
    # Blocks of one size: the last one is not much smaller than the others.
    runs = -(-one.runs_over // limit)
    return -(-one.runs_over // runs)


def _largest(one: SizedStep, axis: str) -> int:
    """Return the most of an axis that an engine takes beside the sizes of the other axes."""
    fitting = [
        profile.ranges[axis][2]
        for profile in one.spec.profiles
        if axis in profile.ranges
        and all(
            least <= one.sizes[name] <= most
            for name, (least, _, most) in profile.ranges.items()
            if name != axis and name in one.sizes
        )
    ]
    return max(fitting, default=one.spec.axis(axis).maximum)


def _scratch(one: SizedStep, engine: DeviceEngine, per_run: Mapping[str, int]) -> int:
    """Return the scratch bytes of the hungriest run of a step."""
    whole = one.runs_over
    count = min(per_run.get(one.step.stage, 1), whole)
    rest = whole % count
    counts = [count, rest] if rest else [count]
    return max(engine.scratch({t.name: one.part(t, n) for t in one.spec.inputs}) for n in counts)

"""The program of a picture, or of a group: planned, given its memory, and kept for the next of its size."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..backends.cuda import Buffer, Cuda
from ..backends.device import DeviceBackend, DeviceEngine
from ..errors import DeviceMemoryError, DeviceMemoryWarning, notify
from ..pipeline import Pipeline
from ..pipeline.group import can_group
from ..pipeline.sizes import Shape, size_steps
from ..task import Task
from .plan import Plan, make_plan, most_pictures
from .program import Program, bind
from .read_back import READS
from .recordings import Recordings
from .resident import Packed, Resident
from .slot import Slot, Taken

#: What is kept: plans and programs, and recorded graphs.
_MOST_PLANS, _MOST_GRAPHS = 32, 8
#: The share of the free memory that is planned with.
_SHARE = 0.95
_MORE_MEMORY = (
    "close what else uses the GPU, take smaller pictures or fewer categories, or use a GPU with more memory"
)

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
#: Tasks, and the shapes of all that the host gives: of each picture its own.
PlanKey = tuple[tuple[Task, ...], tuple[tuple[str, Shape], ...]]
#: A plan, how much of it runs at once, and addresses: of what stays on the device, and of the pictures' own.
ProgramKey = tuple[PlanKey, tuple[tuple[str, int], ...], tuple[int, ...], tuple[int, int]]


@dataclass(frozen=True)
class Ready:
    """A program with its memory.

    Attributes:
        program: what is queued.
        key: names it and its addresses.
        plan: its plan.
        takes, gives: what goes up and comes down, in the slot's memory.
    """

    program: Program
    key: ProgramKey
    plan: Plan
    takes: Packed
    gives: Packed


class Programs:
    """Makes programs, and holds the memory that their steps share.

    Attributes:
        recordings: of these programs.
        can_group: whether pictures can run together.
        at_once: "windows", "rows" -> at most so many per run. Less after memory ran out in a run.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        engines: Mapping[str, DeviceEngine],
        device: tuple[DeviceBackend, Cuda],
        at_once: Mapping[str, int],
    ) -> None:
        self._pipeline, self._engines = pipeline, engines
        self._backend, self._cuda = device
        self._asked = dict(at_once)
        self.at_once = dict(at_once)
        self.can_group = can_group(pipeline)
        self._arena = Buffer(self._cuda)
        self._addresses = (0, 0)
        self._plans: OrderedDict[PlanKey, Plan] = OrderedDict()
        self._programs: OrderedDict[ProgramKey, Program] = OrderedDict()
        self._most: OrderedDict[PlanKey, int] = OrderedDict()
        self._ran: OrderedDict[PlanKey, None] = OrderedDict()
        backend = self._backend
        self.recordings = Recordings(self._cuda, _MOST_GRAPHS, backend.no_graphs, backend.records_host)

    def ready(
        self,
        tasks: tuple[Task, ...],
        own: Mapping[str, Taken],
        shared: Iterable[Resident],
        slot: Slot,
        scratch: int = 0,
        pictures: int = 1,
    ) -> Ready:
        """Return the program of a picture, or of a group, with memory for it.

        Args:
            tasks: those that are wanted.
            own: "source.tensor" -> what goes up with the pictures, or is on the device elsewhere.
            shared: what is on the device already.
            slot: the pictures' memory.
            scratch: bytes of scratch memory that something beside the program needs.
            pictures: how many there are.

        Raises:
            BackendError: the pictures do not fit the engines.
            DeviceMemoryError: the device has too little memory, however little of a picture runs at once.
                For several pictures: too little for all their windows at once.
        """
        there = {name: tensor for one in shared for name, tensor in one.tensors.items()}
        takes = Packed({name: (array.shape, str(array.dtype)) for name, array in own.items()})
        given = {name: one.shape for name, one in (takes.tensors | there).items()}
        plan_key: PlanKey = (tasks, tuple(sorted(given.items())))
        plan = self._plans.get(plan_key) or self._plan(tasks, given, slot, pictures)
        while True:
            gives = Packed(plan.kept)
            try:
                up, down = slot.reserve(takes, gives)
                addresses = (
                    self._arena.reserve(max(plan.arena.bytes, 1)),
                    self._backend.reserve_scratch(max(plan.most_scratch, scratch)),
                )
                break
            except DeviceMemoryError as error:
                if pictures > 1:
                    raise
                plan = self._smaller(tasks, given, plan, error)
        if plan.per_run != plan.allowed and plan_key not in self._plans:
            self._tell(plan)
        _keep(self._plans, plan_key, plan)
        if addresses != self._addresses:
            # Growing waited for all that used the old memory.
            self._addresses = addresses
            self._programs.clear()
            self.recordings.drop(lambda key: True)
        serials = tuple(one.serial for one in shared)
        per_run = tuple(sorted(plan.per_run.items()))
        key: ProgramKey = (plan_key, per_run, serials, (slot.number, slot.moved))
        program = self._programs.get(key)
        if program is None:
            program = bind(plan, self._engines, addresses[0], there | up | down)
        _keep(self._programs, key, program)
        return Ready(program, key, plan, takes, gives)

    def most_pictures(self, tasks: tuple[Task, ...], given: Mapping[str, Shape]) -> int:
        """Return how many pictures run together if there is memory enough.

        Args:
            tasks: those that are wanted.
            given: shapes of what the host gives for one of them.
        """
        if not self.can_group:
            return 1
        key: PlanKey = (tasks, tuple(sorted(given.items())))
        found = self._most.get(key)
        if found is None:
            sized = size_steps(self._pipeline, self._pipeline.for_tasks(tasks), given)
            found = most_pictures(sized, self.at_once)
        _keep(self._most, key, found)
        return found

    def queue(self, ready: Ready, picture: int) -> None:
        """Queue a program. It is recorded if its size was there before."""
        plan_key = ready.key[0]
        self.recordings.run(ready.key, ready.program, picture, plan_key in self._ran)
        _keep(self._ran, plan_key, None)

    def forget(self, gone: set[int], slots: Mapping[int, int]) -> None:
        """Drop programs whose addresses are wrong now.

        Args:
            gone: serials of what is on the device no more.
            slots: number of a slot -> how often it moved.
        """

        def wrong(key: Any) -> bool:
            _, _, serials, (number, moved) = key
            return not gone.isdisjoint(serials) or slots[number] != moved

        for key in [key for key in self._programs if wrong(key)]:
            del self._programs[key]
        self.recordings.drop(wrong)

    def take_less(self, plan: Plan) -> bool:
        """Let half as much run at once as in a plan, after memory ran out in a run. False: not possible."""
        most = {
            axis: max((plan.per_run[s.step.stage] for s in plan.steps if s.step.repeat == axis), default=1)
            for axis in self.at_once
        }
        if max(most.values()) <= 1:
            return False
        self.at_once = {axis: max(1, count // 2) for axis, count in most.items()}
        self._plans.clear()
        self._most.clear()
        return True

    def close(self) -> None:
        """Free everything. No picture may be on its way."""
        self.recordings.close()
        self._programs.clear()
        self._arena.close()

    def _plan(self, tasks: tuple[Task, ...], given: Mapping[str, Shape], slot: Slot, pictures: int) -> Plan:
        held = self._arena.size + self._backend.scratch_size + slot.size
        budget = int(_SHARE * self._cuda.free_memory()) + held
        plan = self._make(tasks, given, budget, pictures)
        if pictures > 1 and (plan.bytes > budget or plan.per_run != plan.allowed):
            # Half the windows at once, of twice the pictures, would save nothing.
            raise DeviceMemoryError(
                f"the GPU has too little memory for {pictures} pictures at once", _MORE_MEMORY
            )
        return plan

    def _make(
        self, tasks: tuple[Task, ...], given: Mapping[str, Shape], budget: int, pictures: int = 1
    ) -> Plan:
        return make_plan(
            self._pipeline, tasks, given, READS, self._engines, self._asked, budget, self.at_once, pictures
        )

    def _smaller(
        self, tasks: tuple[Task, ...], given: Mapping[str, Shape], plan: Plan, error: DeviceMemoryError
    ) -> Plan:
        """Return a plan that needs less memory than one for which there was too little."""
        smaller = self._make(tasks, given, plan.bytes - 1)
        if smaller.bytes >= plan.bytes:
            raise DeviceMemoryError(
                "the GPU has too little memory: beside the engines, a picture of this size needs"
                f" {_mib(plan.bytes)}, {_mib(self._cuda.free_memory())} are free",
                _MORE_MEMORY,
            ) from error
        return smaller

    def _tell(self, plan: Plan) -> None:
        said = ", ".join(f"{count} {axis}" for axis, count in plan.reduced.items())
        notify(
            DeviceMemoryWarning(
                f"the GPU has little free memory: {said} run at once, fewer than it could", _MORE_MEMORY
            )
        )


def _keep(kept: OrderedDict[_Key, _Value], key: _Key, value: _Value) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > _MOST_PLANS:
        kept.popitem(last=False)


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"

"""Each stage against its floor: the time that its work takes at the ceilings of the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .ceilings import Ceilings
from .rounds import Timing
from .work import GraphWork, Work, total


@dataclass(frozen=True)
class StageRow:
    """A stage in one picture: its calls added up.

    Attributes:
        stage: its name.
        calls: how often it runs.
        work: least work: all operations; every weight, input and output once per call.
        layered: the same operations, with the bytes that layers read and write when none is fused.
        seconds: best measured time.
        cpu_seconds: smallest processor time, of all threads.
    judged: the seconds that are held against the floor, see `row`.
        floor: seconds at the ceilings, of the least work.
        layered_floor: seconds at the ceilings if every layer reads and writes its own tensors.
    """

    stage: str
    calls: int
    work: Work
    layered: Work
    seconds: float
    cpu_seconds: float
    judged: float
    floor: float
    layered_floor: float

    @property
    def above(self) -> float:
        """Seconds above the floor: the most that can be won."""
        return self.judged - self.floor

    @property
    def share(self) -> float:
        """Share of the machine's ability that the stage uses. 1 is the floor."""
        return self.floor / self.judged

    @property
    def intensity(self) -> float:
        """Operations per byte of the least work."""
        return self.work.flops / self.work.bytes

    def to_json(self) -> dict[str, Any]:
        """Return attributes and ratios."""
        ratios = {
            "above_seconds": self.above,
            "share": self.share,
            "flops": self.work.flops,
            "bytes": self.work.bytes,
        }
        return asdict(self) | ratios


def floor_seconds(work: Work, limits: Ceilings) -> float:
    """Return the least time for an amount of work: computing and moving overlap, products do not."""
    return max(work.matmul / limits.matmul + work.conv / limits.conv, work.bytes / limits.copy)


def row(
    stage: str, calls: Sequence[GraphWork], time: Timing, limits: Ceilings, threads: int | None
) -> StageRow:
    """Judge a stage.

    Args:
        stage: its name.
        calls: the work of its calls.
        time: of all calls together.
        limits: the ceilings.
        threads: None: the best wall time is judged. A number: the processor time of so many threads, as if
            they were always busy. Other programs lengthen it less than the wall time.
    """
    return StageRow(
        stage,
        len(calls),
        total(call.least for call in calls),
        total(call.layered for call in calls),
        time.best,
        time.cpu,
        time.busy(threads),
        sum(floor_seconds(call.least, limits) for call in calls),
        sum(floor_seconds(node.work, limits) for call in calls for node in call.nodes),
    )


def furthest(rows: Sequence[StageRow]) -> StageRow:
    """Return the stage with most seconds above its floor: the next thing to fix."""
    return max(rows, key=lambda one: one.above)


def advice(rows: Sequence[StageRow], spent: Mapping[str, float], limits: Ceilings) -> str:
    """Say what to do next.

    Args:
        rows: all stages.
        spent: of the stage that is furthest from its floor: type of layer -> seconds. It can be empty.
        limits: the ceilings.
    """
    worst = furthest(rows)
    whole_time = sum(one.judged for one in rows)
    bound = "moving bytes" if worst.work.bytes / limits.copy >= worst.floor else "products and convolutions"
    text = (
        f"next: {worst.stage}. It takes {worst.judged / whole_time:.0%} of the time of all stages,"
        f" {_ms(worst.judged)} where {bound} allow {_ms(worst.floor)}"
    )
    if not spent:
        return f"{text}."
    whole = sum(spent.values())
    largest = sorted(spent.items(), key=lambda one: -one[1])[:4]
    where = ", ".join(f"{kind} {seconds / whole:.0%}" for kind, seconds in largest)
    text += f". Its time goes to {where}"
    products = sum(part for kind, part in spent.items() if kind.startswith(_PRODUCTS)) / whole
    if products < 0.5:
        return f"{text}: less than half is products, so fuse or remove what stands between them."
    return f"{text}: most is products, so their kernels, their precision or their number decide."


#: Beginnings of the types of layers that are products, in ONNX, ONNX Runtime and TensorRT.
_PRODUCTS = ("Conv", "FusedConv", "MatMul", "FusedMatMul", "Gemm", "FusedGemm", "gemm", "cask", "Cask")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 10 else f"{seconds:.1f} s"

"""Whether a build fits this machine, by its estimates. What cannot fit is refused before it starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from odise_trt.bundle.place import nearest_folder
from odise_trt.errors import ExportError
from odise_trt.machine_memory import memory_bytes

from .forecast import Forecast, forecast
from .plan import Request
from .prepared import Prepared

#: A build is refused if it is estimated to need more than the machine has, by so much. Estimates were up to a
#: quarter off.
MARGIN = 1.25
_MAKE_ROOM = "make room, or choose another --output"
#: No build needs more memory than so many times the weights of its stages.
_MOST_TIMES = 8


@dataclass(frozen=True)
class Verdict:
    """What speaks against a build.

    Attributes:
        problems: why it cannot be done here, each with what to do.
        doubts: what may not suffice.
    """

    problems: tuple[tuple[str, str], ...]
    doubts: tuple[str, ...]


def judge(found: Forecast, request: Request) -> Verdict:
    """Compare what a build needs with what this machine has."""
    problems, doubts = [], []
    peak, way = found.peak_bytes, _less_memory(request)
    if found.memory is not None and peak > MARGIN * found.memory:
        problems.append((f"it needs about {_gb(peak)} of memory, there are {_gb(found.memory)}", way))
    elif found.memory is not None and peak > found.memory:
        doubts.append(f"memory may not suffice: {way}")
    elif found.available is not None and peak > found.available:
        doubts.append(f"{_gb(found.available)} of memory are free now: close other programs, or {way}")
    disks: Counter[int] = Counter()
    for bundle in found.bundles:
        place, free = nearest_folder(bundle.folder), bundle.free_bytes
        disk = place.stat().st_dev
        disks[disk] += bundle.disk_bytes
        needs = f"{place} has {_gb(free)} of free space, the build needs about {_gb(disks[disk])}"
        if disks[disk] > MARGIN * free:
            problems.append((needs, _MAKE_ROOM))
        elif disks[disk] > free:
            doubts.append(f"{needs}: {_MAKE_ROOM}")
    return Verdict(tuple(problems), tuple(doubts))


def require_fit(verdict: Verdict) -> None:
    """Raise ExportError if a build does not fit this machine.

    Raises:
        ExportError: memory or disk is estimated to be too small by more than `MARGIN`.
    """
    if verdict.problems:
        message = "\n  ".join(problem for problem, _ in verdict.problems)
        ways = "; ".join(dict.fromkeys(way for _, way in verdict.problems))
        raise ExportError(
            f"the build is estimated not to fit this machine:\n  {message}",
            f"{ways}; --anyway builds all the same",
        )


def require_memory(prepared: Prepared, weights_bytes: int, note: Callable[[str], None]) -> None:
    """Raise ExportError if this machine has too little memory for a build. Small models cost no time.

    Args:
        weights_bytes: of all stages, in float32.
        note: is told what may not suffice.

    Raises:
        ExportError: see `require_fit`.
    """
    memory = memory_bytes()
    most = _MOST_TIMES * weights_bytes * (1 + prepared.request.jobs)
    if memory is None or most <= memory or prepared.request.anyway:
        return
    verdict = judge(forecast(prepared), prepared.request)
    require_fit(verdict)
    for doubt in verdict.doubts:
        note(doubt)


def _less_memory(request: Request) -> str:
    ways = [
        *(["--jobs 1"] if request.jobs > 1 else []),
        *([] if request.parity_limits else ["--parity-windows 1"]),
    ]
    return f"give {' and '.join(ways)}" if ways else "use a machine with more memory"


def _gb(count: float) -> str:
    return f"{count / 1e9:.1f} GB"

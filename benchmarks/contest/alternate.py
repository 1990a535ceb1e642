"""The contest: contenders are opened, warmed up, and then asked in turn, A B C A B C ...

What slows the machine for a while slows all of them. Where memory is too small for all at once, one contender
after the other is opened, measured and ended, and the record says so.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.contest.contender import Contender
from benchmarks.contest.device import DeviceMeter
from benchmarks.contest.load import ForeignLoad
from benchmarks.contest.memory import MemoryCurve
from benchmarks.contest.process import ContenderError, Process
from benchmarks.contest.statistics import not_measured, relative_l2, summary

#: Pictures of a folder run.
STREAMED = 8
#: Seconds per picture from which on a folder is not run: reading and writing take nothing beside them.
LONG = 5.0


@dataclass(frozen=True)
class Rules:
    """How long a contest is.

    Attributes:
        rounds: measured pictures per contender.
        warmup: pictures before them.
        seconds: no further round begins after so long. Three rounds are measured in any case, or as many as
            begin in twice the time, at least one.
        patience: seconds to wait for one answer of a contender.
        one_by_one: whether contenders run one after the other, instead of alternating.
    """

    rounds: int = 12
    warmup: int = 2
    seconds: float = 90.0
    patience: float = 120.0
    one_by_one: bool = False


#: Called with what happens now, and the share (0 to 1) of the contest that is done.
Follow = Callable[[str, float], None]


def contest(
    contenders: Sequence[Contender], image: Path, rules: Rules, follow: Follow, after: After | None = None
) -> list[dict[str, Any]]:
    """Measure contenders on one picture.

    Args:
        image: the picture's file.
        follow: is told what happens.
        after: is called with the processes while they are open, for further measurements.

    Returns:
        A row per contender, see `benchmarks.contest.statistics.summary`. One that failed has `not_run`, the
        reason. The others are compared with the first that ran: `panoptic_agreement`, the share of pixels in
        the same segment, and `masks_relative_l2`, of the mask logits.
    """
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="odise-bench-") as place:
        parts = [[one] for one in contenders] if rules.one_by_one else [contenders]
        for number, part in enumerate(parts):
            followed = _part_of(follow, number, len(parts))
            rows += _Contest(part, image, rules, Path(place), followed).run(after)
        _compare(rows, Path(place))
    return rows


class _Contest:
    """Contenders that are open at the same time."""

    def __init__(
        self, contenders: Sequence[Contender], image: Path, rules: Rules, place: Path, follow: Follow
    ) -> None:
        self._contenders = {one.name: one for one in contenders}
        self._image, self._rules, self._place, self._follow = image, rules, place, follow
        self._rows = {one.name: {"name": one.name} | one.described() for one in contenders}
        self._processes: dict[str, Process] = {}
        self._device = DeviceMeter()
        self._curves: dict[str, MemoryCurve] = {}

    def run(self, after: After | None) -> list[dict[str, Any]]:
        """Measure them all."""
        with ExitStack() as open_ones:
            for number, (name, contender) in enumerate(self._contenders.items()):
                self._follow(f"opening {contender.technique}", 0.4 * number / len(self._contenders))
                with self._failures_of(name):
                    process = open_ones.enter_context(Process(name, self._rules.patience))
                    self._curves[name] = curve = MemoryCurve(process.number)
                    open_ones.callback(curve.stop)
                    self._rows[name]["opened"] = process.ask("open", contender=asdict(contender))
                    curve.mark("opened")
                    for _ in range(self._rules.warmup):
                        process.ask("segment", image=str(self._image), folder=str(self._folder(name)))
                        self._keep_memory(name)
                    self._processes[name] = process
            samples = self._alternate()
            for name, process in list(self._processes.items()):
                self._follow(f"streams, memory: {name}", 0.8)
                with self._failures_of(name):
                    best = min(taken["seconds"] for taken in samples[name])
                    self._rows[name] |= summary(samples[name]) | self._further(name, process, best)
            if after is not None:
                after(self._contenders, self._processes, self._follow)
            for name, process in list(self._processes.items()):
                with self._failures_of(name):
                    process.ask("outcome", image=str(self._image), folder=str(self._folder(name)))
        return list(self._rows.values())

    def _alternate(self) -> dict[str, list[dict[str, Any]]]:
        samples: dict[str, list[dict[str, Any]]] = {name: [] for name in self._processes}
        begin = time.perf_counter()
        for turn in range(self._rules.rounds):
            if turn and time.perf_counter() - begin > self._rules.seconds * (1 if turn >= 3 else 2):
                break
            for name, process in list(self._processes.items()):
                self._follow(f"round {turn + 1}: {name}", 0.4 + 0.4 * turn / self._rules.rounds)
                with self._failures_of(name):
                    meter = ForeignLoad(one.number for one in self._processes.values())
                    energy = self._device.joules()
                    answer = process.ask("segment", image=str(self._image), folder=str(self._folder(name)))
                    used = self._device.joules()
                    self._keep_memory(name)
                    answer["joules"] = None if energy is None or used is None else used - energy
                    samples[name].append(answer | {"foreign": meter.stop()})
        for name, taken in samples.items():
            joules = [one["joules"] for one in taken if one["joules"] is not None]
            self._rows[name]["joules"] = (
                sum(joules) / len(joules) if joules else not_measured(self._device.missing)
            )
        return samples

    def _further(self, name: str, process: Process, best: float) -> dict[str, Any]:
        memory = process.ask("memory_used")
        device = {"device_memory": self._device.memory(process.number)}
        if best > LONG:
            why = not_measured(f"a picture takes {best:.0f} s, reading and saving nothing beside it")
            return _rates(memory, why) | device
        images = []
        for number in range(STREAMED):
            link = self._folder(name) / f"photo{number}{self._image.suffix}"
            if not link.exists():
                link.write_bytes(self._image.read_bytes())
            images.append(str(link))
        streamed = process.ask("stream", images=images, folder=str(self._folder(name)))
        return _rates(memory, streamed) | device

    def _keep_memory(self, name: str) -> None:
        """Write down the memory of a contender after its first picture."""
        if curve := self._curves.pop(name, None):
            curve.mark("segmented")
            self._rows[name]["memory"] = curve.stop()

    def _folder(self, name: str) -> Path:
        folder = self._place / name.replace("/", "--")
        folder.mkdir(exist_ok=True)
        return folder

    @contextmanager
    def _failures_of(self, name: str) -> Iterator[None]:
        """A contender that fails is out, and the others go on."""
        try:
            yield
        except ContenderError as error:
            self._rows[name]["not_run"] = error.message + (f" ({error.hint})" if error.hint else "")
            if name in self._processes:
                self._processes.pop(name).end(now=True)


#: Called with contenders and processes by name, and `follow`.
After = Callable[[Mapping[str, Contender], Mapping[str, Process], Follow], None]


def _rates(memory: Mapping[str, Any], streamed: Mapping[str, Any]) -> dict[str, Any]:
    """Return peak memory and pictures per second of a contender: one at a time, four at once, a folder."""
    rate = streamed if "not_measured" in streamed else STREAMED / streamed["total_seconds"]
    return {
        "peak_bytes": memory["peak_bytes"],
        "streaming_fps": rate,
        "batch_4_fps": not_measured("no call takes four pictures at once: see streaming_fps"),
    }


def _part_of(follow: Follow, number: int, parts: int) -> Follow:
    return lambda what, share: follow(what, (number + share) / parts)


def _compare(rows: Sequence[dict[str, Any]], place: Path) -> None:
    """Add the parity of every row to the first that ran."""
    import numpy as np

    first = None
    for row in rows:
        if "not_run" in row:
            continue
        folder = place / row["name"].replace("/", "--")
        panoptic, masks = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("panoptic", "masks"))
        first = first or (panoptic, masks, row["name"])
        row["compared_with"] = first[2]
        row["panoptic_agreement"] = float((panoptic == first[0]).mean())
        row["masks_relative_l2"] = relative_l2(masks, first[1])
        row["segments"] = len(np.unique(panoptic[panoptic > 0]))

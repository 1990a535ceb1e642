"""The whole benchmark: the contest, growth with words and windows, and the record of it all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import growth
from benchmarks.contest.alternate import Follow, Rules, contest
from benchmarks.contest.contender import LEFT_OUT, USUAL, Contender, contenders
from benchmarks.contest.load import is_busy
from benchmarks.contest.process import ContenderError, Process
from odise_trt.backends import available_threads
from odise_trt.errors import OdiseError
from odise_trt.machine_memory import available_bytes

#: Keys of the record.
KEYS = frozenset({"job", "machine", "commit", "load", "contenders", "growth"})
#: What a process takes besides its model, and how often the weights fit into its peak (OpenVINO: 10.4 GB
#: of 5.2).
_BASE, _TIMES = 0.8e9, 2.0
#: Seed of the drawn scene, one that no training has seen: `odise-trt scenes --held-out --seed 8`.
_SCENE = 1_000_008
#: The weights of the paper's models, where no bundle says how large they are.
_PAPER = 5.2e9


class BusyError(OdiseError):
    """Other programs kept the processors busy, and the caller wants numbers of a quiet machine only."""


@dataclass(frozen=True)
class Job:
    """What is measured.

    Attributes:
        preset, weights: of the reference. The bundles should be made from them.
        engines: folders of bundles.
        reference: keys of `benchmarks.contest.contender.REFERENCE`.
        image: a photo. None: a drawn scene for the demo presets, else the photo of the repository.
        vocabulary: a value of `--vocab`.
        threads: CPU threads of every contender.
        growth_rounds: measured pictures per point of the growth. 0: growth is not measured.
        words: numbers of words of the growth.
        strict: whether a busy machine is an error.
    """

    preset: str = "demo"
    weights: str = "demo"
    engines: Sequence[Path] = ()
    reference: Sequence[str] = USUAL
    image: Path | None = None
    vocabulary: str = "coco"
    threads: int = field(default_factory=available_threads)
    device: str | None = None
    growth_rounds: int = 5
    words: Sequence[int] = growth.WORDS
    strict: bool = False
    rules: Rules = field(default_factory=Rules)

    def contenders(self) -> list[Contender]:
        """List what competes."""
        return contenders(
            self.reference,
            self.engines,
            preset=self.preset,
            weights=self.weights,
            vocabulary=self.vocabulary,
            threads=self.threads,
            device=self.device,
        )


def run(job: Job, follow: Follow) -> dict[str, Any]:
    """Run the benchmark.

    Returns:
        The record, see docs/accuracy-and-speed.md.

    Raises:
        BusyError: the job is strict, and other programs were at work.
        ContenderError: none of the contenders ran.
    """
    from benchmarks.provenance import commit, machine, state

    entrants = job.contenders()
    with tempfile.TemporaryDirectory(prefix="odise-bench-") as place:
        image = job.image or _picture(job.preset, Path(place))
        growths: dict[str, Any] = {}

        def grow(by_name: Mapping[str, Contender], open_ones: Mapping[str, Process], told: Follow) -> None:
            if job.growth_rounds:
                growths.update(_grow(job, by_name, open_ones, image, Path(place), told))

        record: dict[str, Any] = {
            "job": _described(job, image),
            "machine": machine() | {"before": state()},
            "commit": commit(),
            "load": {},
            "contenders": contest(entrants, image, job.rules, follow, grow),
            "growth": growths,
        }
    rows = record["contenders"]
    if tuple(job.reference) == USUAL:
        left_out = Contender("compiled", None, job.preset, job.weights, job.vocabulary, job.threads)
        rows.insert(len(USUAL), {"name": left_out.name} | left_out.described() | {"not_run": LEFT_OUT})
    ran = [row for row in rows if "not_run" not in row]
    if not ran:
        raise ContenderError("; ".join(row["not_run"] for row in rows) or "nothing competes")
    record["machine"]["after"] = state()
    record["load"] = _load(ran)
    if job.strict and record["load"]["busy"]:
        raise BusyError(
            f"other programs took {record['load']['foreign']:.2f} processors during the measurement",
            "wait until they have ended, or measure without --strict: the record will say so",
        )
    return record


def fits_side_by_side(entrants: Sequence[Contender], free: int | None = None) -> bool:
    """Estimate whether the contenders fit into memory together.

    Args:
        free: bytes. None: what the system says.
    """
    free = available_bytes() if free is None else free
    sizes = [
        sum(file.stat().st_size for file in Path(one.engines).iterdir() if file.is_file())
        for one in entrants
        if one.engines is not None and Path(one.engines).is_dir()
    ]
    of_reference = max(sizes, default=_PAPER if entrants and entrants[0].preset.startswith("odise") else 0)
    weights = sum(sizes) + of_reference * sum(one.engines is None for one in entrants)
    return free is None or len(entrants) * _BASE + _TIMES * weights < free


def _grow(
    job: Job,
    by_name: Mapping[str, Contender],
    open_ones: Mapping[str, Process],
    image: Path,
    place: Path,
    follow: Follow,
) -> dict[str, Any]:
    """Measure growth on the first bundle, and with windows also on the batched reference."""
    bundles = [name for name in open_ones if by_name[name].engines is not None]
    if not bundles:
        return {}
    chosen = {name: open_ones[name] for name in ("batched", bundles[0]) if name in open_ones}
    rounds, seconds = job.growth_rounds, job.rules.seconds / 3
    found: dict[str, Any] = {
        "windows": growth.with_windows(chosen, image, place, rounds, seconds, job.preset, follow),
        "words": {"contender": bundles[0]},
    }
    found["words"]["rows"] = growth.with_words(
        chosen[bundles[0]], image, place, rounds, seconds, follow, job.words
    )
    # What comes after has the words of the contest again.
    chosen[bundles[0]].ask("vocabulary", source=job.vocabulary)
    return found


def _picture(preset: str, place: Path) -> Path:
    """Return the photo of the repository. For the demo presets: draw a scene no training has seen."""
    if not preset.startswith("demo"):
        return Path(__file__).resolve().parent.parent / "assets" / "photo.jpg"
    from PIL import Image

    from reference.scenes import make_scene

    file = place / "scene.png"
    Image.fromarray(make_scene(seed=_SCENE).image).save(file)
    return file


def _described(job: Job, image: Path) -> dict[str, Any]:
    """Return the job without the user's folders."""
    from odise_trt.preprocess import load_image

    height, width = load_image(image).shape[:2]
    named = asdict(job)
    named |= {"engines": [folder.name for folder in job.engines], "image": image.name}
    return named | {"image_size": [height, width]}


def _load(ran: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    measured = [row["foreign"] for row in ran if row.get("foreign") is not None]
    foreign = sum(measured) / len(measured) if measured else None
    return {"foreign": foreign, "busy": is_busy(foreign), "processors": os.cpu_count()}

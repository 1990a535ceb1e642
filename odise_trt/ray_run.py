"""Segmenting many images on many GPUs or machines, with Ray Data.

Every worker is a process that opens the bundle once. Ray places the workers, sends them images, and restarts
a worker that died. See docs/evaluation.md. Ray is imported when it is used.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import errors
from .backends.registry import find_backend
from .batch import PATIENCE, Item, Outcome, is_of_the_place, plan, segment
from .bundle import Bundle
from .errors import BackendError, OdiseError, error_of
from .files.output import prepare_folder
from .files.paths import each, expanded_unless_there, is_address
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from .segmenter import Segmenter
    from .task import Task

_BLOCKS, _BLOCKS_PER_WORKER = 1000, 64
#: Default CPU threads of a worker. More workers use many cores better than more threads do.
_THREADS = 4


@dataclass(frozen=True)
class Job:
    """The settings of the workers.

    Attributes:
        engines: folder of the bundle, the same on every machine.
        output: folder for the results, shared by all machines.
        vocabulary: what to look for.
        task, overlap_threshold: as for a call of a `Segmenter`.
        workers: number of processes. None: as many as there are GPUs or processors for.
        gpus: GPUs of each worker, 0.5 for two workers on one GPU. None: 1 if the bundle runs on GPUs, else 0.
        device: "cpu" or "cuda". None: the bundle's own. Ray chooses which GPU.
        threads: CPU threads of each worker. None: up to 4, limited by the CPUs of the workers that share
            GPUs.
        overwrite, detectron2: as for `batch.segment_files`.
    """

    engines: Path
    output: Path
    vocabulary: Vocabulary
    task: Task = "panoptic"
    overlap_threshold: float | None = None
    workers: int | None = None
    gpus: float | None = None
    device: str | None = None
    threads: int | None = None
    overwrite: bool = False
    detectron2: bool = False


def segment_with_ray(
    job: Job, images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
) -> Iterator[Outcome]:
    """Segment images on a Ray cluster and save each as soon as it is done.

    The cluster is the one that this process is connected to, else the one of $RAY_ADDRESS, else a temporary
    one on this machine. Files are those of `batch.segment_files`.

    Args:
        job: what to do.
        images: paths, valid on every machine.

    Returns:
        The outcome of each image, in no order. It has no result, since results stay with the workers. Errors
        are those of `batch.segment_files`. If Ray itself fails, the remaining images are reported as not
        tried.

    Raises:
        BackendError: Ray is not installed, or has no room for a worker. Also as for opening a segmenter.
        BundleError, OutputError, VocabularyError: as for opening a segmenter.
    """
    bundle = Bundle.open(job.engines)
    folder = prepare_folder(job.output).absolute()
    ray = _import_ray()
    # Other machines read and write these files, so paths are absolute.
    items = plan([_from_root(image) for image in each(images)], folder)
    yield from (Outcome(item.image, error=item.error) for item in items if item.error is not None)
    items = [item for item in items if item.error is None]
    if not items:
        return
    started = not ray.is_initialized()
    if started:
        local = {} if os.environ.get("RAY_ADDRESS") else {"include_dashboard": False}
        ray.init(logging_level="error", log_to_driver=False, **local)
    try:
        yield from _outcomes(ray, job, resources(job, bundle, _machines(ray)), items)
    finally:
        if started:
            ray.shutdown()


@dataclass(frozen=True)
class Machine:
    """The resources of a machine of the cluster.

    Attributes:
        cpus, gpus: number of CPUs and GPUs.
    """

    cpus: int
    gpus: int = 0

    def on_gpus(self, gpus: float) -> int:
        """Return the number of workers its GPUs have room for. A worker's share of a GPU is on one GPU."""
        return self.gpus * int(1 / gpus) if gpus < 1 else int(self.gpus // gpus)

    def room(self, gpus: float, threads: int) -> int:
        """Return the number of workers that the machine has room for."""
        on_cpus = self.cpus // threads
        return min(on_cpus, self.on_gpus(gpus)) if gpus else on_cpus

    def threads(self, gpus: float) -> int:
        """Return the CPU threads of a worker, at most `_THREADS`, so that its GPUs can be shared fully."""
        sharing = self.on_gpus(gpus) if gpus else 1
        return min(_THREADS, self.cpus // sharing) if sharing else 0


@dataclass(frozen=True)
class Resources:
    """The number of workers, and the resources of each.

    Attributes:
        workers: number of workers.
        gpus, threads: GPUs and CPU threads of each worker.
    """

    workers: int
    gpus: float
    threads: int


def _outcomes(ray: Any, job: Job, resources: Resources, items: list[Item]) -> Iterator[Outcome]:
    left = {str(item.image): item for item in items}
    error: OdiseError | None = None
    failures = 0
    try:
        for facts in _facts(ray, job, resources, items):
            outcome = _outcome(facts)
            left.pop(facts["path"], None)
            yield outcome
            failures = failures + 1 if facts.get("place") else 0
            if failures == PATIENCE * resources.workers:
                error = outcome.error
                break
    except OdiseError:
        raise
    except Exception as failure:
        error = _ray_failed(failure)
    for item in left.values():
        yield Outcome(item.image, error=error or BackendError("Ray gave no outcome"), tried=False)


def _facts(ray: Any, job: Job, resources: Resources, items: list[Item]) -> Iterator[dict[str, Any]]:
    ray.data.DataContext.get_current().enable_progress_bars = False
    # Names are sent as JSON, since Arrow does not accept strings that are not UTF-8.
    rows = [{"item": json.dumps([str(item.image), item.name])} for item in items]
    blocks = min(len(rows), max(_BLOCKS, _BLOCKS_PER_WORKER * resources.workers))
    done = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
        _Worker,
        fn_constructor_args=(job, resources.threads),
        batch_size=None,
        concurrency=resources.workers,
        num_cpus=resources.threads,
        num_gpus=resources.gpus,
    )
    for batch in done.iter_batches(batch_size=None, prefetch_batches=0):
        for text in batch["outcome"]:
            yield json.loads(str(text))


def _ray_failed(error: Exception) -> BackendError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    made = BackendError(
        f"Ray failed: {type(error).__name__}: {lines[0] if lines else 'it does not say why'}",
        "most often memory ran out and a worker was killed: give fewer --workers",
    )
    made.__cause__ = error
    return made


class _Worker:
    """One process with the bundle open."""

    def __init__(self, job: Job, threads: int) -> None:
        self._job = job
        self._threads = threads
        self._segmenter: Segmenter | None = None

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[str]]:
        items = (Item(Path(path), name) for path, name in (json.loads(str(text)) for text in batch["item"]))
        return {"outcome": [json.dumps(self._segment(item)) for item in items]}

    def _segment(self, item: Item) -> dict[str, Any]:
        """Return the outcome of an image as JSON. Ray would wrap an exception into one of its own."""
        job = self._job
        try:
            # Not in the constructor: if it fails there, Ray restarts the worker again and again.
            if self._segmenter is None:
                self._segmenter = self._open()
            folder = job.output.absolute()
            outcome = segment(
                self._segmenter,
                item,
                folder,
                job.task,
                job.overlap_threshold,
                job.overwrite,
                job.detectron2,
            )
        except OdiseError as error:
            return {"path": str(item.image), "error": _parts(error), "ends": True}
        except Exception as error:
            return {"path": str(item.image), "error": _parts(error_of(job.engines, error)), "ends": True}
        if outcome.error is not None:
            place = is_of_the_place(outcome.error)
            return {"path": str(item.image), "error": _parts(outcome.error), "place": place}
        return {"path": str(item.image), "files": [str(file) for file in outcome.files]}

    def _open(self) -> Segmenter:
        from .segmenter import Segmenter

        job = self._job
        return Segmenter.open(
            job.engines.absolute(), vocabulary=job.vocabulary, device=job.device, threads=self._threads
        )


def _parts(error: OdiseError) -> list[str | None]:
    return [type(error).__name__, error.message, error.hint]


def _outcome(facts: Mapping[str, Any]) -> Outcome:
    path = Path(facts["path"])
    if "error" not in facts:
        return Outcome(path, files=tuple(map(Path, facts["files"])))
    kind, message, hint = facts["error"]
    error: OdiseError = getattr(errors, kind, OdiseError)(message, hint)
    if facts.get("ends"):
        raise error
    return Outcome(path, error=error)


def _from_root(image: str) -> str:
    """Return the absolute path. A URL is not changed, so that it is rejected as a URL later."""
    text = expanded_unless_there(image)
    return text if is_address(text) else os.path.abspath(text)


def _machines(ray: Any) -> list[Machine]:
    alive = (node["Resources"] for node in ray.nodes() if node["Alive"])
    return [Machine(int(there.get("CPU", 0)), int(there.get("GPU", 0))) for there in alive]


def resources(job: Job, bundle: Bundle, machines: list[Machine]) -> Resources:
    """Compute how many workers have room. Each worker needs all its resources on one machine.

    Raises:
        BackendError: there is no room for the requested workers, or for a single worker.
    """
    device = job.device or find_backend(bundle.manifest.backend["name"]).device
    gpus = float(device != "cpu") if job.gpus is None else job.gpus
    usable = [threads for machine in machines if (threads := machine.threads(gpus))]
    threads = min(usable, default=1) if job.threads is None else job.threads
    room = sum(machine.room(gpus, threads) for machine in machines)
    workers = room if job.workers is None else job.workers
    if room < max(1, workers):
        wanted = f"{workers or 1} workers of {threads} CPUs and {gpus:g} GPUs each"
        there = ", ".join(f"{machine.cpus} CPUs and {machine.gpus} GPUs" for machine in machines)
        raise BackendError(
            f"Ray has no room for {wanted}: its machines have {there or 'nothing'}",
            "ask for fewer with --workers, --threads or --gpus, or add machines to the cluster",
        )
    return Resources(workers, gpus, threads)


def _import_ray() -> Any:
    # By default Ray reports usage statistics to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise BackendError(f"Ray Data is not installed: {error}", 'pip install "odise-trt[ray]"') from error
    return ray

"""Loads the engines of a bundle and runs them window by window."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Self

import numpy as np

from .backends import Backend, Engine, find_backend, open_backend
from .backends.base import check_axes
from .backends.engine_mismatch import has_host_code
from .bundle import Bundle
from .errors import BackendError, BundleError, OdiseError, reason
from .features.names import RAW_STAGE
from .stage_spec import split_dimension
from .text_table import TEXT_ENCODER
from .windows import Grid, Stitcher

#: Stages that run for every image, in order.
IMAGE_STAGES = ("captioner", "features", "mask_head", "clip_pool")
#: The stage among them that gives feature maps.
PYRAMID_STAGE = "features"
#: Pixels of windows that a run on a CPU takes at once. Measured on two cores: benchmarks/NOTES.md.
_PIXELS_AT_ONCE = 512 * 512
_LESS = "if memory ran out: a smaller picture needs less; on a GPU so does Segmenter.open(..., max_windows=1)"


class Clock:
    """Adds up wall time per name. Names are in the order of their first use.

    Attributes:
        seconds: name -> seconds.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time a `with` block."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


class Executor:
    """The backend and engines of a bundle. `Executor.open` makes it, `close` frees it."""

    def __init__(
        self, bundle: Bundle, backend: Backend, engines: Mapping[str, Engine], resources: ExitStack
    ) -> None:
        self.backend = backend
        self._bundle = bundle
        self._engines = dict(engines)
        self._resources = resources

    @classmethod
    def open(
        cls,
        bundle: Bundle,
        device: str | None = None,
        threads: int | None = None,
        stages: Sequence[str] = IMAGE_STAGES,
    ) -> Self:
        """Load the backend of a bundle and the engines that every image needs.

        Args:
            bundle: the bundle.
            device, threads: as for `Segmenter.open`.
            stages: the engines to load now. `load` loads others.

        Raises:
            BundleError: the engines were built for another machine. This is raised before any is loaded.
            BackendError: the backend is not installed or has no device, or an engine fails to load.
        """
        manifest = bundle.manifest
        if bundle.has_graphs_only:
            raise BundleError(
                f"{bundle.folder} has graphs for {manifest.backend['name']}, but no engines yet",
                "build them on the machine that they are for: odise-trt finish"
                f" {shlex.quote(str(bundle.folder))}",
            )
        # If a step fails, everything opened so far is closed again.
        with ExitStack() as resources:
            backend = open_backend(
                manifest.backend["name"],
                precision=manifest.precision,
                device=device,
                threads=threads,
                host_code=has_host_code(manifest.backend),
            )
            resources.callback(backend.close)
            mismatch = backend.mismatch(manifest.backend)
            if mismatch is not None:
                raise BundleError(f"{bundle.folder} cannot run here: {mismatch}", bundle.rebuild_hint())
            engines: dict[str, Engine] = {}
            # The largest comes first: while it is opened it needs most, and then nothing else is there yet.
            for stage in sorted(stages, key=lambda name: -_size(bundle, name)):
                with errors_of(stage):
                    engines[stage] = backend.open_stage(bundle.folder, manifest.stage(stage))
                resources.callback(engines[stage].close)
            return cls(bundle, backend, engines, resources.pop_all())

    def run(self, stage: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run a loaded stage on one batch.

        Raises:
            BackendError: the stage failed, or gave numbers that are not finite.
        """
        engine = self.engine(stage)
        with errors_of(stage):
            outputs = engine.run(inputs)
        for name, array in outputs.items():
            if not np.isfinite(array).all():
                raise not_finite(stage, name)
        return outputs

    def engine(self, stage: str) -> Engine:
        """Return the engine of a loaded stage.

        Raises:
            BackendError: the executor was closed.
        """
        if stage not in self._engines:
            raise BackendError("the segmenter was closed")
        return self._engines[stage]

    def before_close(self, callback: Callable[[], None]) -> None:
        """Call this before the engines that are loaded now are freed."""
        self._resources.callback(callback)

    def load(self, stage: str) -> None:
        """Load the engine of a further stage. It is kept until `close`. Loading it twice is allowed.

        Raises:
            BundleError: the bundle has no such stage.
            BackendError: the executor was closed, or the engine fails to load.
        """
        if stage in self._engines:
            return
        if not self._engines:
            raise BackendError("the segmenter was closed")
        entry = self._bundle.manifest.stage(stage)
        with errors_of(stage):
            engine = self.backend.open_stage(self._bundle.folder, entry)
        self._resources.callback(engine.close)
        self._engines[stage] = engine

    def features(self, padded: np.ndarray, batch: int, clock: Clock) -> dict[str, np.ndarray]:
        """Compute the feature maps of a whole image that the mask head takes: s2 to s5, see `maps`.

        Raises:
            BackendError: it does not take them at this size. Raised before any stage runs.
        """
        _, height, width = padded.shape
        check_axes(self._bundle.manifest.stage("mask_head").spec, {"height": height, "width": width})
        return self.maps(padded, batch, clock, {PYRAMID_STAGE: tuple(self.strides(PYRAMID_STAGE))})

    def maps(
        self,
        padded: np.ndarray,
        batch: int,
        clock: Clock,
        wanted: Mapping[str, Sequence[str]],
        time_step: int = 0,
    ) -> dict[str, np.ndarray]:
        """Compute feature maps of a whole image, window by window.

        Args:
            padded: float32 (3, H, W) in [0, 1], sides multiples of 64.
            batch: windows per run of an engine.
            clock: measures each stage.
            wanted: loaded stage -> the outputs of it to return.
            time_step: for stages that take it.

        Returns:
            name -> (1, C, H / stride, W / stride), in the dtype of the stage.
        """
        _, height, width = padded.shape
        grid = Grid.over(height, width, self._bundle.manifest.model.window)
        with clock("preprocess"):
            windows = grid.cut(padded)
        stitchers = {
            stage: {name: Stitcher(grid, self.strides(stage)[name]) for name in names}
            for stage, names in wanted.items()
        }
        step = np.array([time_step], np.int64)
        for start in range(0, len(grid), batch):
            part = {"windows": windows[start : start + batch]}
            with clock("captioner"):
                condition = self.run("captioner", part)
            offered = part | condition | {"time_step": step}
            for stage, outputs in stitchers.items():
                inputs = self._bundle.manifest.stage(stage).spec.inputs
                with clock(stage):
                    maps = self.run(stage, {tensor.name: offered[tensor.name] for tensor in inputs})
                with clock("stitch"):
                    for name, stitcher in outputs.items():
                        stitcher.add(maps[name])
        with clock("stitch"):
            return {name: one.result() for outputs in stitchers.values() for name, one in outputs.items()}

    def strides(self, stage: str) -> dict[str, int]:
        """Return the stride of each output in pixels, from the stage's declaration (`"side/4"`: 4)."""
        outputs = self._bundle.manifest.stage(stage).spec.outputs
        return {tensor.name: split_dimension(str(tensor.shape[-1]))[1] for tensor in outputs}

    def encode_texts(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return CLIP's features of texts and their projection, float32 (N, E) and (N, D).

        The text encoder is loaded for this and then freed, since it is needed only once per vocabulary.
        """
        if not self._engines:
            raise BackendError("the segmenter was closed")
        entry = self._bundle.manifest.stage(TEXT_ENCODER)
        most = entry.spec.axis("texts").maximum
        with errors_of(TEXT_ENCODER), ExitStack() as resources:
            engine = self.backend.open_stage(self._bundle.folder, entry)
            resources.callback(engine.close)
            parts = [
                engine.run({"tokens": tokens[start : start + most]}) for start in range(0, len(tokens), most)
            ]
        clip_text_embed, text_embed = (
            np.concatenate([part[name] for part in parts]) for name in ("clip_text_embed", "text_embed")
        )
        return clip_text_embed, text_embed

    def close(self) -> None:
        """Free engines and backend. Closing twice is allowed."""
        self._engines = {}
        self._resources.close()


def not_finite(stage: str, tensor: str) -> BackendError:
    """Return the error for an engine whose output has numbers that are infinite or no numbers."""
    return BackendError(
        f"stage {stage} gave {tensor} with numbers that are not finite",
        "look at the bundle's parity (odise-trt inspect), or build it in fp32",
    )


def windows_per_run(bundle: Bundle, device: str | None, asked: int | None = None) -> int:
    """Return how many windows a run of the captioner and the features takes.

    Args:
        bundle: the bundle.
        device: as for `Segmenter.open`.
        asked: at most so many. None: on a GPU as many as the engines take. On a CPU as many as have the
            pixels of one window of 512 x 512 together. More take memory and no less time there; fewer leave
            the threads without work.
    """
    manifest = bundle.manifest
    needed = [manifest.stage(name) for name in ("captioner", PYRAMID_STAGE)]
    stages = [*needed, *(entry for entry in manifest.stages if entry.spec.name == RAW_STAGE)]
    most = min(entry.spec.axis("windows").maximum for entry in stages)
    if asked is None:
        on_cpu = (device or find_backend(manifest.backend["name"]).device) == "cpu"
        asked = max(1, _PIXELS_AT_ONCE // manifest.model.window**2) if on_cpu else most
    return min(asked, most)


def _size(bundle: Bundle, stage: str) -> int:
    """Return the bytes of all files that a stage reads."""
    declared = bundle.manifest.files
    return sum(
        int(declared[name]["bytes"]) for name in bundle.manifest.stage(stage).files if name in declared
    )


@contextmanager
def errors_of(stage: str) -> Iterator[None]:
    """Turn any error of a library in this stage into a `BackendError` that names the stage."""
    try:
        yield
    except BackendError as error:
        if stage in error.message and (error.hint or not is_about_memory(error.message)):
            raise
        message = error.message if stage in error.message else f"stage {stage}: {error.message}"
        raise BackendError(message, error.hint or _hint(message)) from error
    except OdiseError:
        raise
    except Exception as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        message = f"stage {stage} failed: {why or type(error).__name__}"
        raise BackendError(message, _hint(f"{type(error).__name__} {message}")) from error


def is_about_memory(message: str) -> bool:
    """Whether a library's message says that memory ran out."""
    return any(word in message.lower() for word in ("memory", "allocat"))


def _hint(message: str) -> str | None:
    return _LESS if is_about_memory(message) else None

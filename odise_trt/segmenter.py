"""From a picture and a vocabulary to segments."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast

from . import arguments
from .bundle import Bundle
from .bundle.bundle import Verify
from .chains import PLACES, Chain, Job, Outcome, Place, open_chain
from .errors import ArgumentError, BackendError, VocabularyError
from .executor import Executor, windows_per_run
from .extraction import extract
from .features import Features
from .preprocess import ImageSource
from .result import Result
from .streaming import OpenStreams, Prepared, Reader, Stream, prepare, sources_of
from .table_cache import from_home, vocabulary_folder
from .table_file import write_table
from .task import TASKS, Task
from .text_table import TextTable, TextTables, encoder_identity
from .tokenizer import Tokenizer
from .vocabulary import Vocabulary

VocabularySource = Vocabulary | str | os.PathLike[str] | Iterable[Any]


class Segmenter:
    """A bundle with its engines loaded.

    `Segmenter.open` makes it. Use it as a context manager, or call `close`. Only one call may run at a time,
    since the engines share their memory. The next picture of a stream is such a call.

    Example:
        with Segmenter.open("engines/demo-onnxruntime-fp32") as segmenter:
            segmenter.vocabulary = "purse, handbag; table"
            result = segmenter("photo.jpg")
    """

    # Setting an unknown attribute, such as `segmenter.vocab = "cat"`, is an error.
    __slots__ = (
        "__weakref__",
        "_chain",
        "_closed",
        "_executor",
        "_max_windows",
        "_streams",
        "_table",
        "_tables",
        "bundle",
    )

    def __new__(cls, *parts: Any, **options: Any) -> Self:
        """Raise ArgumentError for `Segmenter("engines/...")`: `Segmenter.open` opens a bundle."""
        if not parts or not isinstance(parts[0], Bundle):
            raise ArgumentError("a segmenter is made by Segmenter.open", 'Segmenter.open("engines/...")')
        return super().__new__(cls)

    def __init__(
        self,
        bundle: Bundle,
        executor: Executor,
        chain: Chain,
        tables: TextTables,
        max_windows: int,
    ) -> None:
        self.bundle = bundle
        self._executor = executor
        self._chain = chain
        self._tables = tables
        self._max_windows = max_windows
        self._table: TextTable | None = None
        self._streams = OpenStreams()
        self._closed = False

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        *,
        vocabulary: VocabularySource | None = None,
        device: str | None = None,
        threads: int | None = None,
        verify: Verify = "full",
        cache: str | os.PathLike[str] | Literal[False] | None = None,
        max_windows: int | None = None,
    ) -> Segmenter:
        """Check a bundle, load its backend and the engines that every image needs.

        Args:
            folder: a bundle, see docs/bundles.md.
            vocabulary: what to look for, see the property. It can be set and changed later.
            device: "cpu", "cuda" or "cuda:1". None: the CPU for ONNX Runtime, the first GPU for TensorRT.
            threads: CPU threads. None: as many as the process may use, in a container its share.
            verify: "full" hashes every file of the bundle, "size" checks only names and sizes.
            cache: folder for text-embedding tables. None: the shared one beside the bundle (or in
                $ODISE_CACHE). False: tables are not kept.
            max_windows: windows per run of the captioner and the features. None: on a CPU as many as have the
                pixels of one window of 512 x 512, since more take memory and no less time; on a GPU as many
                as the engines take, of one or of several pictures. Results differ by rounding only.

        Raises:
            ArgumentError: an argument has an invalid value or type.
            BundleError: the folder is no bundle, a file is missing or altered, or the engines were built for
                another machine. It is raised before any engine is loaded.
            BackendError: the bundle's backend is not installed or has no device, or an engine fails to load.
            VocabularyError, OutputError: as for setting `vocabulary`.
        """
        words = None if vocabulary is None else Vocabulary.of(vocabulary)
        _check_device(device)
        bundle = Bundle.open(folder, verify)
        if max_windows is not None:
            max_windows = arguments.count("max_windows", max_windows, sys.maxsize)
        limit = windows_per_run(bundle, device, max_windows)
        keep = _cache_folder(bundle, cache)
        constants = bundle.constants()
        tokenizer = Tokenizer.from_file(bundle.tokenizer, bundle.manifest.model.context_length)
        executor = Executor.open(bundle, device, threads)
        # The encoder takes any number of texts, so a cache miss loads its engine only once.
        tables = TextTables(
            bundle.manifest.model,
            tokenizer,
            executor.encode_texts,
            encoder_identity(bundle.manifest),
            keep,
            chunk=sys.maxsize,
        )
        try:
            chain = open_chain(bundle, executor, constants, limit)
        except BaseException:
            executor.close()
            raise
        segmenter = cls(bundle, executor, chain, tables, limit)
        if words is not None:
            try:
                segmenter.vocabulary = words
            except BaseException:
                segmenter.close()
                raise
        return segmenter

    @property
    def runs_on(self) -> dict[str, str]:
        """What runs the pictures, in words: backend, version, device, and what works between the engines."""
        return self._chain.describe()

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The categories to look for. Setting it reads the text-embedding table from the cache, or makes it.

        It can be set to a `Vocabulary`, to a text or a path as `Vocabulary.parse` takes them ("coco", "purse,
        handbag; table"), and to a list of names.

        Raises:
            VocabularyError: on setting, the value is none of these, or a name is too long for the tokenizer.
            OutputError: on setting, the cache cannot be written to.
            BackendError: on setting, the text encoder failed.
        """
        return None if self._table is None else self._table.vocabulary

    @vocabulary.setter
    def vocabulary(self, vocabulary: VocabularySource) -> None:
        self._require_open()
        self._streams.settle()
        self._table = self._tables.table(Vocabulary.of(vocabulary))

    def save_table(self, path: str | os.PathLike[str]) -> Path:
        """Write the vocabulary with its text embeddings to an .npz file, see `table_file.write_table`.

        Programs that use libodise_trt (docs/cpp.md) read it.

        Raises:
            VocabularyError: no vocabulary is set.
            OutputError: the name does not end with .npz, another file has it, or it cannot be written.
        """
        return write_table(path, self._required_table(), encoder_identity(self.bundle.manifest))

    def __call__(
        self,
        image: ImageSource,
        task: Task = "panoptic",
        *,
        overlap_threshold: float | None = None,
        object_mask_threshold: float | None = None,
        ids: Place = "host",
    ) -> Result:
        """Segment an image.

        Args:
            image: a path, an open binary file, the bytes of an image file, a Pillow image, or a uint8 array
                (H, W, 3) in RGB of numpy, torch or another library. Where engines pass tensors on a GPU, an
                array can lie there, too: see docs/on-the-gpu.md.
            task: "panoptic" (each pixel in at most one segment), "semantic" (each pixel a category) or
                "instance" (objects with masks that may overlap).
            overlap_threshold: for panoptic only. A query keeps its segment if it wins at least this share of
                its mask, 0 to 1. None: the model's own threshold.
            object_mask_threshold: for panoptic only. Queries must score more than this. None: the model's own
                threshold.
            ids: "device" leaves the map of panoptic or semantic on the GPU, as `Result.ids`. Segments come as
                ever.

        Returns:
            The result at the size of the image.

        Raises:
            ArgumentError: the task does not exist, a threshold is outside 0 to 1, or ids cannot be on a GPU.
            VocabularyError: no vocabulary is set.
            ImageError: the image cannot be read.
            BackendError: the segmenter was closed, or an engine failed or gave numbers that are not finite.
        """
        return self.results(
            image,
            (task,),
            overlap_threshold=overlap_threshold,
            object_mask_threshold=object_mask_threshold,
            ids=ids,
        )[task]

    def results(
        self,
        image: ImageSource,
        tasks: Task | Sequence[Task] = TASKS,
        *,
        overlap_threshold: float | None = None,
        object_mask_threshold: float | None = None,
        ids: Place = "host",
    ) -> dict[Task, Result]:
        """Segment an image for several tasks. The engines, which take most of the time, run only once.

        Args:
            image, overlap_threshold, object_mask_threshold, ids: as for a call.
            tasks: one or several, as `task` of a call.

        Returns:
            The result of each task. Its timings are those of the engines and of its own post-processing.

        Raises:
            ArgumentError, VocabularyError, ImageError, BackendError: as for a call.
        """
        job = self._job(tasks, overlap_threshold, object_mask_threshold, ids)
        prepared = self._prepare(image)
        self._streams.settle()
        return self._results(prepared, job, self._chain.begin(prepared.picture, job).outcomes())

    def stream(
        self,
        images: Iterable[Any],
        task: Task | Sequence[Task] = "panoptic",
        *,
        read: Callable[[Any], ImageSource] | None = None,
        overlap_threshold: float | None = None,
        object_mask_threshold: float | None = None,
        ids: Place = "host",
    ) -> Stream:
        """Segment many images: the results of calls one after the other, in less time.

        Images are read and resized in a thread while the engines work. On a GPU, images of one size that are
        ready run together, see docs/streaming.md. There is one `Streamed` for each image, in order. One that
        cannot be read or segmented has an error instead of results, and the next one follows.

        Between two of them the segmenter can be used for anything else. If its vocabulary is set, all that
        follow are of the new one.

        Args:
            images: as for a call, or anything that `read` takes. An iterable may be endless. It is asked in
                a thread, and only a few images ahead. What it raises is raised here, after the images before.
                Arrays must not change before their results are there.
            task, overlap_threshold, object_mask_threshold, ids: as for a call. Several tasks are allowed.
            read: makes an image, as for a call, of what `images` gives. It is called in the threads, so it
                can download or decode ahead.

        Returns:
            An iterator with `close`. Leaving the loop stops its threads, as `close` and closing the segmenter
            do.

        Raises:
            ArgumentError, VocabularyError: as for a call, or `images` is a single one. Nothing was read then.
            BackendError: the segmenter was closed, also from the iterator.
        """
        wanted = arguments.names("task", task, TASKS)
        job = partial(self._job, wanted, overlap_threshold, object_mask_threshold, ids)
        job()
        reading = self._prepare if read is None else partial(self._prepare_by, read)
        reader = Reader(sources_of(images), reading, self._chain.depth, self._chain.together)
        return Stream(reader, self._chain, job, self._results, self._streams)

    def features(
        self,
        image: ImageSource,
        names: str | Iterable[str] | None = None,
        *,
        short_side: int | None = None,
        max_side: int | None = None,
        time_step: int = 0,
    ) -> Features:
        """Return feature maps of an image, for other work. No vocabulary is needed.

        The raw features are `odise_trt.features.names.RAW`: enc5, enc7 and dec2, dec5 of the autoencoder, un2
        to un11 of the UNet. The bundle needs the optional stage `raw_features` for them, which is loaded on
        first use. The projected pyramid is s2, s3, s4, s5, as the mask head takes it.

        Args:
            image: as for a call.
            names: one name, or several. None: all that the bundle has at this time step.
            short_side: the shorter side of the resized image in pixels. None: the model's.
            max_side: the most that its longer side may have. None: the model's ratio to the shorter side.
            time_step: the diffusion step of raw features, 0 to 999. The pyramid exists at step 0 only.

        Returns:
            Each map float32 (C, h, w), see `Features`.

        Raises:
            FeatureError: a name or the time step does not exist, or the pyramid is requested at another step.
            ArgumentError: a side is out of range.
            BundleError: the bundle lacks the stage `raw_features`. The hint is the command that adds it.
            ImageError: the image cannot be read.
            BackendError: the segmenter was closed, or an engine failed or gave numbers that are not finite.
        """
        self._require_open()
        self._streams.settle()
        return extract(
            self._executor,
            self.bundle,
            image,
            names,
            short_side=short_side,
            max_side=max_side,
            time_step=time_step,
            batch=self._max_windows,
        )

    def close(self) -> None:
        """Free engines and backend, and stop all streams. Closing twice is allowed."""
        self._closed = True
        try:
            self._streams.stop()
        finally:
            self._executor.close()

    def __enter__(self) -> Self:
        self._require_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _require_open(self) -> None:
        if self._closed:
            raise BackendError(
                "the segmenter was closed", "use it inside its with block, or open the bundle again"
            )

    def _job(
        self, tasks: Any, overlap_threshold: float | None, object_mask_threshold: float | None, ids: Place
    ) -> Job:
        """Check what is wanted of a picture, with the vocabulary that is set now."""
        wanted = cast(tuple[Task, ...], arguments.names("task", tasks, TASKS))
        model = self.bundle.manifest.model
        if "panoptic" not in wanted and (object_mask_threshold, overlap_threshold) != (None, None):
            raise ArgumentError(
                f"the thresholds are for the task panoptic, not for {', '.join(wanted)}", "leave them out"
            )
        place = cast(Place, arguments.name_of("ids", ids, PLACES))
        if place == "device" and wanted == ("instance",):
            raise ArgumentError("the task instance has masks and no ids", "leave ids out")
        self._require_open()
        job = Job(
            wanted,
            self._required_table(),
            _share("object_mask_threshold", object_mask_threshold, model.object_mask_threshold),
            _share("overlap_threshold", overlap_threshold, model.overlap_threshold),
            place,
        )
        self._chain.check(job)
        return job

    def _required_table(self) -> TextTable:
        if self._table is None:
            raise VocabularyError(
                "no vocabulary is set",
                'say what to look for: segmenter.vocabulary = "purse, handbag; table"',
            )
        return self._table

    def _prepare(self, image: ImageSource) -> Prepared:
        model = self.bundle.manifest.model
        return prepare(image, self._chain, model.short_side, model.max_side)

    def _prepare_by(self, read: Callable[[Any], ImageSource], source: Any) -> Prepared:
        return self._prepare(read(source))

    def _results(self, prepared: Prepared, job: Job, outcomes: Mapping[Task, Outcome]) -> dict[Task, Result]:
        provenance = self._provenance()
        return {
            task: Result(
                image=cast(Any, prepared.picture.pixels),
                vocabulary=job.table.vocabulary,
                timings=_added({"preprocess": prepared.seconds}, outcome.seconds),
                provenance={**provenance, **outcome.notes},
                source=prepared.path,
                **outcome.fields,
            )
            for task, outcome in outcomes.items()
        }

    def _provenance(self) -> dict[str, Any]:
        manifest = self.bundle.manifest
        return {
            "bundle": self.bundle.folder.name,
            "preset": manifest.preset,
            "backend": manifest.backend["name"],
            "precision": manifest.precision,
            "seeded": bool(manifest.weights.get("seeded", False)),
        }


def _check_device(device: Any) -> None:
    if device is not None and (not isinstance(device, str) or not device):
        raise ArgumentError(f"{device!r:.80} is not a device", 'devices: "cpu", "cuda", "cuda:1"')


def _cache_folder(bundle: Bundle, cache: str | os.PathLike[str] | Literal[False] | None) -> Path | None:
    if cache is False:
        return None
    if cache is None:
        return vocabulary_folder(bundle.folder)
    if not isinstance(cache, str | os.PathLike) or not os.fspath(cache):
        raise ArgumentError(
            f"cache must be a folder, not {cache!r:.80}",
            "None keeps tables beside the bundle, False keeps none",
        )
    return from_home(cache, "cache")


def _share(name: str, asked: float | None, default: float) -> float:
    return default if asked is None else arguments.share(name, asked)


def _added(first: Mapping[str, float], further: Mapping[str, float]) -> dict[str, float]:
    """Return the sum of each entry, in the order of their first use."""
    return {name: first.get(name, 0.0) + further.get(name, 0.0) for name in (*first, *further)}

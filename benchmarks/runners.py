"""The forms of the model that are compared. Each segments one photo, and says how long its stages took.

All start with the file of the photo and post-process for all three tasks. The panoptic result is then drawn
and saved by the runtime's own writer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from benchmarks.contest.contender import Contender
from odise_trt.executor import Clock
from odise_trt.vocabulary import Vocabulary

if TYPE_CHECKING:
    from reference.model import ODISE, Segmentation

#: As in the official demo: every query keeps the pixels it wins. A comparison then shows most differences.
OVERLAP_THRESHOLD = 0.0
#: Stage names of post-processing, in a clock.
POSTPROCESSING = ("panoptic", "semantic", "instance")
#: Draws and saves the last result in a folder.
Save = Callable[[Path], object]
_NAME = "result"


class Runner(Protocol):
    """An opened contender."""

    def segment(self, image: Path) -> tuple[dict[str, float], Save]:
        """Segment a photo. Return seconds per stage, and what saves the panoptic result."""
        ...

    def look_for(self, vocabulary: Vocabulary) -> None:
        """Use another vocabulary from now on. It may take long: names are encoded."""
        ...

    def stream(self, images: Sequence[Path], folder: Path) -> str | None:
        """Segment a folder of photos, the fastest way there is. Return None, or why there is no such way."""
        ...

    def outcome(self, image: Path) -> tuple[np.ndarray, np.ndarray]:
        """Return the panoptic map, int32 (H, W), and the mask logits, float32 (Q, H, W). Comes last."""
        ...

    def close(self) -> None:
        """Free everything."""
        ...


def open_runner(contender: Contender) -> Runner:
    """Load a contender."""
    return BundleRunner(contender) if contender.engines is not None else ReferenceRunner(contender)


class BundleRunner:
    """A bundle in the runtime."""

    def __init__(self, contender: Contender) -> None:
        from odise_trt import Segmenter

        assert contender.engines is not None
        self._contender = contender
        self._segmenter = Segmenter.open(
            contender.engines,
            threads=contender.threads,
            device=contender.device,
            vocabulary=Vocabulary.parse(contender.vocabulary),
            verify="size",
        )
        self.runs_on = self._segmenter.runs_on

    def segment(self, image: Path) -> tuple[dict[str, float], Save]:
        """See `Runner.segment`."""
        results = self._segmenter.results(image, overlap_threshold=OVERLAP_THRESHOLD)
        timings = dict(results["panoptic"].timings)
        timings.pop("postprocess")
        own = {str(task): results[task].timings["postprocess"] for task in results}
        return timings | own, lambda folder: results["panoptic"].save(folder, _NAME, overwrite=True)

    def look_for(self, vocabulary: Vocabulary) -> None:
        """See `Runner.look_for`."""
        self._segmenter.vocabulary = vocabulary

    def stream(self, images: Sequence[Path], folder: Path) -> str | None:
        """Run the folder as `odise-trt run` does: through `Segmenter.stream`, read ahead and saved behind."""
        from odise_trt.batch import segment_files

        for outcome in segment_files(self._segmenter, images, folder, overwrite=True):
            if outcome.error is not None:
                raise outcome.error
        return None

    def outcome(self, image: Path) -> tuple[np.ndarray, np.ndarray]:
        """See `Runner.outcome`. The masks come from a second opening: a segmenter keeps its own to itself."""
        panoptic = self._segmenter(image, overlap_threshold=OVERLAP_THRESHOLD).panoptic
        assert panoptic is not None
        bundle = self._segmenter.bundle
        self.close()
        return panoptic, mask_logits(bundle, image, self._contender.threads, self._contender.device)

    def close(self) -> None:
        """Free the engines."""
        self._segmenter.close()


def mask_logits(bundle: Any, image: Path, threads: int, device: str | None) -> np.ndarray:
    """Compute the mask logits of a bundle at the size of the photo, float32 (Q, H, W), window by window."""
    from odise_trt.executor import IMAGE_STAGES, Executor
    from odise_trt.masks import MaskTiles
    from odise_trt.preprocess import load_image, pad, resize_shortest, to_planes

    model, pixels = bundle.manifest.model, load_image(image)
    picture = to_planes(resize_shortest(pixels, model.short_side, model.max_side))
    padded = pad(picture, model.divisor)
    stages = [stage for stage in IMAGE_STAGES if stage != "clip_pool"]
    executor = Executor.open(bundle, device, threads, stages)
    try:
        masks = executor.run("mask_head", executor.features(padded, 1, Clock()))["pred_masks"][0]
    finally:
        executor.close()
    found = np.empty((len(masks), *pixels.shape[:2]), np.float32)
    for tile in MaskTiles(masks, padded.shape[1:], picture.shape[1:], pixels.shape[:2]):
        found[:, tile.rows, tile.columns] = tile.logits(np.arange(len(masks)))
    return found


class ReferenceRunner:
    """The PyTorch reference on the CPU, in one of the forms of `benchmarks.contest.contender.REFERENCE`."""

    def __init__(self, contender: Contender) -> None:
        import torch

        from reference.checkpoint import load_weights

        torch.set_num_threads(contender.threads)
        self._model = load_weights(contender.preset, contender.weights).eval().requires_grad_(False)
        self._resources = ExitStack()
        self._call = _form(contender.name, self._model, self._resources)
        self.runs_on = {
            "backend": f"torch {torch.__version__}",
            "device": "cpu",
            "threads": str(contender.threads),
        }
        self.look_for(Vocabulary.parse(contender.vocabulary))

    def look_for(self, vocabulary: Vocabulary) -> None:
        """See `Runner.look_for`."""
        from reference.inference import things_of

        self._vocabulary = vocabulary
        self._encoded, self._things = self._model.encode(vocabulary.synonyms), things_of(vocabulary)

    def segment(self, image: Path) -> tuple[dict[str, float], Save]:
        """See `Runner.segment`."""
        import torch

        clock = Clock()
        with torch.inference_mode():
            found = self._segment(image, clock)
            with clock("panoptic"):
                panoptic = found.panoptic
                ids = panoptic.map.numpy()
            with clock("semantic"):
                found.semantic.argmax(0).to(torch.int32).numpy()
            with clock("instance"):
                found.instances.masks.numpy()
        # The runtime has a part of its post-processing where the reference resizes masks.
        clock.seconds["panoptic"] += clock.seconds.pop("postprocess")
        result = partial(self._result, image, ids, panoptic.segments)
        return clock.seconds, lambda folder: result().save(folder, _NAME, overwrite=True)

    def stream(self, images: Sequence[Path], folder: Path) -> str | None:
        """See `Runner.stream`."""
        return "the reference segments one picture at a time"

    def outcome(self, image: Path) -> tuple[np.ndarray, np.ndarray]:
        """See `Runner.outcome`."""
        import torch

        with torch.inference_mode():
            found = self._segment(image, Clock())
            return found.panoptic.map.numpy(), found.mask_pred.float().numpy()

    def close(self) -> None:
        """Undo what the form has changed."""
        self._resources.close()

    def _segment(self, image: Path, clock: Clock) -> Segmentation:
        from reference.inference import resized_photo

        with clock("preprocess"):
            pixels, out_hw = resized_photo(image, self._model.preset)
        return self._call(
            pixels, self._encoded, self._things, out_hw, overlap_threshold=OVERLAP_THRESHOLD, clock=clock
        )

    def _result(self, image: Path, ids: np.ndarray, segments: Sequence[Any]) -> Any:
        from odise_trt.preprocess import load_image
        from odise_trt.result import Result
        from odise_trt.segments import Segment, bounding_box

        names = self._vocabulary.names
        rows = [
            Segment(
                one.id,
                one.category_id,
                names[one.category_id],
                one.isthing,
                1.0,
                int(np.count_nonzero(ids == one.id)),
                bounding_box(ids == one.id),
            )
            for one in segments
        ]
        provenance = {"bundle": "reference", "preset": self._model.preset.name, "backend": "torch"}
        return Result(
            load_image(image),
            self._vocabulary,
            panoptic=ids,
            segments=rows,
            provenance=provenance,
            source=image,
        )


def _form(name: str, model: ODISE, resources: ExitStack) -> Callable[..., Segmentation]:
    import torch

    from reference.oracle import segment_official

    if name == "official":
        return partial(segment_official, model)
    if name == "pruned":
        return partial(model.segment, batch=1)
    if name in ("bf16", "compiled"):
        wrap = _in_bf16 if name == "bf16" else partial(torch.compile, dynamic=False)
        for part in (model.captioner, model.features):
            part.forward = wrap(part.forward)  # type: ignore[method-assign]
            resources.callback(delattr, part, "forward")
    return model.segment


def _in_bf16(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Run a module in bf16 autocast, with float32 results: the sampling of the mask head knows no bf16."""
    import torch

    def run(*inputs: Any) -> tuple[Any, ...]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return tuple(one.float() for one in forward(*inputs))

    return run

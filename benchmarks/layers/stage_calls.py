"""The calls that one picture makes to the engines of a bundle, with their real inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from odise_trt.backends import Engine
from odise_trt.bundle import Bundle
from odise_trt.executor import IMAGE_STAGES, Clock, Executor, windows_per_run
from odise_trt.preprocess import ImageSource, clip_image, load_image, pad, resize_shortest, to_planes

PHOTO = Path(__file__).resolve().parents[2] / "assets" / "photo.jpg"


@dataclass(frozen=True)
class StageCall:
    """One run of a stage.

    Attributes:
        stage: its name.
        inputs: name -> array, as the stage declares them.
    """

    stage: str
    inputs: Mapping[str, np.ndarray]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every input."""
        return {name: array.shape for name, array in self.inputs.items()}


class RecordingExecutor(Executor):
    """An executor that keeps what its engines were called with.

    Attributes:
        calls: the calls since it was opened, in order. Inputs are not copied.
    """

    calls: list[StageCall]

    def run(self, stage: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run a stage, see `Executor.run`."""
        self.calls = [*getattr(self, "calls", ()), StageCall(stage, dict(inputs))]
        return super().run(stage, inputs)

    def engine(self, stage: str) -> Engine:
        """Return the opened engine of a stage."""
        return self._engines[stage]


def stage_calls(
    bundle: Bundle,
    image: ImageSource = PHOTO,
    *,
    device: str | None = None,
    windows: int | None = None,
    executor: RecordingExecutor,
) -> list[StageCall]:
    """Run a picture through the stages that every picture needs, and return their calls. No words are needed.

    Args:
        bundle: the bundle that the executor has opened.
        image: a photo, as `load_image` takes it.
        device: the executor's.
        windows: windows per run of captioner and features. None: as the segmenter.
        executor: opened with this bundle.

    Raises:
        ImageError: the image cannot be read.
        BackendError: a stage failed.
    """
    model = bundle.manifest.model
    picture = to_planes(resize_shortest(load_image(image), model.short_side, model.max_side))
    executor.calls = []
    maps = executor.features(pad(picture, model.divisor), windows_per_run(bundle, device, windows), Clock())
    masks = executor.run("mask_head", maps)["pred_masks"]
    executor.run("clip_pool", {"clip_image": clip_image(picture, model.clip_image_size), "pred_masks": masks})
    assert {call.stage for call in executor.calls} == set(IMAGE_STAGES)
    return executor.calls

"""The inputs that reach stages when the fp32 reference segments the user's pictures."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from reference.inference import resized_photo
from reference.model.odise import as_planes
from reference.model.windows import image_features

from ..builders import Progress
from ..reporter import silent
from ..stages import all_stages

if TYPE_CHECKING:
    from reference.model import ODISE

Arrays = Mapping[str, np.ndarray]


def collect(
    model: ODISE,
    pictures: Sequence[Path],
    stages: Collection[str],
    folder: Path,
    progress: Progress = silent,
) -> dict[str, tuple[Path, ...]]:
    """Write the inputs of stages for each picture: `folder/STAGE-0000.npz`, in the dtypes of fp16 graphs.

    Args:
        model: the reference, float32 on the CPU.
        pictures: image files.
        stages: of `features` (a file per window) and `clip_pool` (a file per picture).
        folder: is made.
        progress: is told of each picture.

    Returns:
        Stage -> its files, in order.

    Raises:
        ImageError: a file is no picture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, list[Path]] = {name: [] for name in stages}
    for done, picture in enumerate(pictures):
        progress("pictures", done, len(pictures))
        for stage, arrays in inputs_of(model, picture, stages):
            path = folder / f"{stage}-{len(written[stage]):04d}.npz"
            np.savez(path, allow_pickle=False, **arrays)
            written[stage].append(path)
    progress("pictures", len(pictures), len(pictures))
    return {name: tuple(paths) for name, paths in written.items()}


@torch.inference_mode()
def inputs_of(model: ODISE, picture: Path, stages: Collection[str]) -> Iterator[tuple[str, Arrays]]:
    """Run the reference as `ODISE.segment` does, and yield what stages are given: (stage, its inputs)."""
    pixels, _ = resized_photo(picture, model.preset)
    planes = as_planes(pixels)
    calls: list[tuple[torch.Tensor, ...]] = []

    def remember(module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        calls.append(inputs)

    hook = model.backbone.register_forward_pre_hook(remember)
    try:
        pyramid = image_features(model.backbone, model.pad(planes), batch=1)
    finally:
        hook.remove()
    if "features" in stages:
        for inputs in calls:
            yield "features", _named(model, "features", inputs)
    if "clip_pool" in stages:
        side = model.preset.clip.image_size
        clip_image = F.interpolate(planes, size=(side, side), mode="bilinear", align_corners=False)
        masks = model.mask_head(*pyramid).pred_masks
        yield "clip_pool", _named(model, "clip_pool", (clip_image, masks))


def _named(model: ODISE, stage: str, inputs: Sequence[torch.Tensor]) -> Arrays:
    spec = all_stages()[stage].spec(model.preset, "fp16")
    return {
        tensor.name: array.to(getattr(torch, tensor.dtype)).numpy()
        for tensor, array in zip(spec.inputs, inputs, strict=True)
    }

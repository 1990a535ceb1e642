"""A released checkpoint of ODISE, or one that the official training wrote: `["model"]` of a `.pth` file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from odise_trt.errors import WeightsError
from reference.convert.expected import Expected
from reference.convert.sources.source import Source, record, require_names, require_shapes
from reference.download.reporter import Reporter
from reference.foreign import ForeignFile

#: What distributed training puts before every name.
_WRAPPED = "module."
_CLASS_WEIGHTS = "criterion.empty_weight"


def odise(file: ForeignFile, path: Path, expected: Expected, reporter: Reporter) -> Source:
    """Read the trained part: 399 tensors of the label model, 400 of the caption model.

    Raises:
        WeightsError: the file is another one, or does not fit the preset exactly.
    """
    tensors = _tensors(file, path)
    preset = expected.preset
    shapes = expected.shapes("odise")
    other = "caption" if preset.kind == "label" else "label"
    hint = f"give the checkpoint of a {preset.kind} model"
    if any(name.startswith(("word_head.", "category_head.")) for name in tensors.keys() - shapes.keys()):
        hint = f"this is a checkpoint of a {other} model: convert odise-{other}, or give the other file"
    elif any(name.startswith(("model.diffusion_model.", "visual.")) for name in tensors):
        hint = "this is Stable Diffusion or CLIP: give it with --sd or --clip"
    require_names(path, shapes.keys() - tensors.keys(), tensors.keys() - shapes.keys(), hint)
    weights = tensors.get(_CLASS_WEIGHTS)
    if weights is not None and weights.ndim == 1 and tuple(weights.shape) != shapes[_CLASS_WEIGHTS]:
        raise WeightsError(
            f"{path} was trained on {len(weights) - 1} categories, {preset.name} is for"
            f" {shapes[_CLASS_WEIGHTS][0] - 1}",
            "a checkpoint does not name its categories: train from it with odise-trt train",
        )
    require_shapes(path, tensors, shapes, f"give a checkpoint with the widths of {preset.name}")
    return Source(path, tensors, (record(path, reporter),))


def _tensors(file: ForeignFile, path: Path) -> dict[str, Tensor]:
    content: Any = file.content
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise WeightsError(f"{path} is no checkpoint: it holds no names", "give odise_label_coco_50e-*.pth")
    others = [name for name, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise WeightsError(
            f"{path} is no checkpoint of ODISE: {others[0]} is no tensor", "give odise_label_coco_50e-*.pth"
        )
    if content and all(name.startswith(_WRAPPED) for name in content):
        return {name.removeprefix(_WRAPPED): value for name, value in content.items()}
    return dict(content)

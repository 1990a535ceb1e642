"""A golden file, and the reference run on it.

The format is that of the files in tests/goldens: `X` is a tensor, `X__shape` its full shape, `X__stride`
the thinning of its last two dimensions, `X__stats` mean, std, min, max and norm of the whole tensor;
`X_packed` are the bits of a boolean array of `X_shape`; `X_json` are JSON texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from reference.checkpoint import load_official
from reference.model import ODISE, Segmentation, postprocess
from reference.oracle import Way, segment_pyramid_traced, segment_traced
from reference.preset import GOLDEN_CAPTION, GOLDEN_LABEL

GOLDENS = Path(__file__).parent / "goldens"
#: Largest relative L2 distance to the official code.
TOLERANCE = 1e-4
#: What a case is run on. Everything else in a file is an output.
INPUTS = {"image_uint8", "out_hw", "labels_json", "thing_classes"}
MARKS = ("__shape", "__stride", "__stats")
PANOPTIC = re.compile(r"panoptic_seg(?:_ov(?P<overlap>[0-9.]+)(?P<variant>_\w+)?)?")


class Run(NamedTuple):
    """The reference on one case: every intermediate tensor by name, and the results."""

    taps: dict[str, torch.Tensor]
    result: Segmentation


class GoldenCase:
    """One file.

    Attributes:
        kind: "label" or "caption", from the tensors that are there.
        arrays: everything in the file.
        names: the outputs, in the order of the file, each once.
    """

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as file:
            self.arrays = {name: file[name] for name in file.files}
        missing = INPUTS - set(self.arrays)
        if missing:
            raise ValueError(f"{path} is not an inference case: it has no {', '.join(sorted(missing))}")
        self.kind = "label" if any(name.startswith("category_head.") for name in self.arrays) else "caption"
        names = dict.fromkeys(_output(name) for name in self.arrays if name not in INPUTS)
        self.names = [name for name in names if name]

    def __getitem__(self, name: str) -> torch.Tensor:
        """An array; thinned out if the file has it so."""
        return torch.from_numpy(self.arrays[name])

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    @property
    def padded_image(self) -> torch.Tensor:
        """(1, 3, H, W) in [0, 1], padded to multiples of 64."""
        image = self["image_uint8"][None].float() / 255
        height, width = (int(size) for size in self["padded_image_shape"][-2:])
        return F.pad(image, (0, width - image.shape[-1], 0, height - image.shape[-2]))

    @property
    def attention_mask(self) -> torch.Tensor:
        """MaskCLIP's official mask: (heads, sequence, sequence), true where blocked."""
        shape = tuple(self["clip_head.attn_mask_shape"])
        bits = np.unpackbits(self["clip_head.attn_mask_packed"].numpy())
        return torch.from_numpy(bits[: np.prod(shape)].reshape(shape).astype(bool))

    def check(self, name: str, tensor: torch.Tensor, tolerance: float = TOLERANCE) -> None:
        """Compare a whole tensor with the golden one."""
        if f"{name}__shape" in self:
            assert tuple(tensor.shape) == tuple(self[f"{name}__shape"]), name
        if f"{name}__stride" in self:
            stride = int(self[f"{name}__stride"])
            tensor = tensor[..., ::stride, ::stride]
        assert tensor.shape == self[name].shape, name
        distance = relative_l2(tensor, self[name])
        assert distance <= tolerance, f"{name} is {distance:.1e} away from the official code"

    @property
    def labels(self) -> list[list[str]]:
        """The vocabulary."""
        return json.loads(str(self.arrays["labels_json"]))

    @property
    def things(self) -> set[int]:
        """The categories that are things."""
        return set(self.arrays["thing_classes"].tolist())

    @property
    def out_hw(self) -> tuple[int, int]:
        """Height and width of the results."""
        height, width = self.arrays["out_hw"].tolist()
        return height, width

    def segments(self, name: str) -> list[dict[str, Any]]:
        """The segments of the panoptic map called `name`."""
        return json.loads(str(self.arrays[f"{name.replace('panoptic_seg', 'segments_info')}_json"]))

    def run(self, model: ODISE, way: Way) -> Run:
        """The whole model on the image."""
        image = torch.from_numpy(self.arrays["image_uint8"])
        result, taps = segment_traced(model, image, self.labels, self.things, self.out_hw, way=way)
        return Run(taps, result)

    def rerun_head(self, model: ODISE, way: Way, run: Run, shift: float) -> Run:
        """Everything after the backbone once more, with `shift` added to every mask logit."""
        taps = {name: value for name, value in run.taps.items() if re.match(r"w\d+\.|backbone\.", name)}
        pyramid = tuple(taps[f"backbone.s{level}"] for level in (2, 3, 4, 5))
        planes = torch.from_numpy(self.arrays["image_uint8"])[None].float() / 255
        encoded = model.encode(self.labels)
        with shifted_masks(model, shift):
            result, taps = segment_pyramid_traced(
                model, planes, pyramid, encoded, self.things, self.out_hw, way=way, taps=taps
            )
            assert result.panoptic
        return Run(taps, result)

    def panoptic(self, name: str, result: Segmentation) -> postprocess.Panoptic:
        """The panoptic result at the overlap threshold and with the things of the map called `name`.

        `_classNstuff` says that category N is no thing. The segments of a variant say what its things are,
        where the name does not.
        """
        match = PANOPTIC.fullmatch(name)
        if match is None:
            raise ValueError(f"{name} is not the name of a panoptic map")
        things = self.things
        if match["variant"]:
            things -= {int(number) for number in re.findall(r"class(\d+)stuff", match["variant"])}
            segments = self.segments(name)
            things |= {segment["category_id"] for segment in segments if segment["isthing"]}
            things -= {segment["category_id"] for segment in segments if not segment["isthing"]}
        overlap = 0.8 if match["overlap"] is None else float(match["overlap"])
        return postprocess.panoptic(
            result.mask_cls, result.mask_pred, things, object_mask_threshold=0.0, overlap_threshold=overlap
        )


@cache
def golden_weights(kind: str, folder: Path = GOLDENS) -> dict[str, torch.Tensor]:
    """The official state dict in `folder`, every copy of CLIP included."""
    config = json.loads((folder / "small_config.json").read_text(encoding="utf-8"))
    weights = _load(folder / f"{kind}_small.npz") | _load(folder / "ldm_small.npz")
    clip = _load(folder / "clip_small.npz")
    for prefix in config["clip_prefixes"][kind]:
        weights |= {prefix + name: tensor for name, tensor in clip.items()}
    return weights


def relative_l2(tensor: torch.Tensor, expected: torch.Tensor) -> float:
    """Distance over the norm of what is expected, in float64."""
    expected = expected.double()
    return ((tensor.detach().double() - expected).norm() / expected.norm()).item()


@cache
def load_golden_model(kind: str, folder: Path = GOLDENS) -> ODISE:
    """The model of the golden files with the weights in `folder`; not to be changed."""
    config = json.loads((folder / "small_config.json").read_text(encoding="utf-8"))
    preset = replace(
        GOLDEN_LABEL if kind == "label" else GOLDEN_CAPTION,
        train_labels=tuple(map(tuple, config["train_labels"])),
        topk_per_image=config["small"]["test_topk_per_image"],
    )
    model = ODISE(preset)
    load_official(model, golden_weights(kind, folder))
    return model.eval()


@contextmanager
def shifted_masks(model: ODISE, shift: float) -> Iterator[None]:
    """Add `shift` to every mask logit the decoder makes."""
    decoder = model.mask_head.predictor
    original = decoder.mask_logits
    decoder.mask_logits = lambda query, features: original(query, features) + shift  # type: ignore[method-assign]
    try:
        yield
    finally:
        del decoder.mask_logits


def _load(path: Path) -> dict[str, torch.Tensor]:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return {
        name: torch.from_numpy(array.astype(np.float32) if array.dtype == np.float16 else array)
        for name, array in arrays.items()
    }


def _output(name: str) -> str:
    """The output an array belongs to; empty for the segments, which belong to their map."""
    for mark in MARKS:
        name = name.removesuffix(mark)
    if name.startswith("segments_info"):
        return ""
    if name.startswith("instances."):
        return "instances"
    return re.sub(r"_(packed|shape)$", "", name) if name != "padded_image_shape" else name

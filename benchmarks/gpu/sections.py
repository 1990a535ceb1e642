"""The sections of the measurement. Each takes the bench and yields its numbers as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from odise_trt.vocabulary import Vocabulary
from reference.checkpoint import load_weights
from reference.inference import things_of
from reference.model import ODISE, Segmentation
from reference.model.clock import untimed
from reference.model.odise import as_planes
from reference.model.open_vocabulary import EncodedTexts
from reference.model.windows import image_features

from . import techniques
from .card import ceilings
from .techniques import Picture, Technique
from .timing import measure

PHOTO = Path(__file__).resolve().parents[2] / "assets" / "photo.jpg"


@dataclass
class Bench:
    """The model on its device, and the limits of the measurement.

    Attributes:
        sizes: height and width of the pictures. Most numbers are for the first size.
        repeats, seconds: measured runs of one technique, and the time for all of them.
        precision: of the engines that the parts BACKEND-STAGE build.
        engines: bundles for the parts that measure the runtime.
    """

    preset: str
    weights: str
    device: torch.device
    sizes: tuple[tuple[int, int], ...] = ((1024, 1024), (1024, 1365))
    vocabulary: str = "coco"
    repeats: int = 20
    seconds: float = 12.0
    precision: str = "fp16"
    engines: tuple[str, ...] = ()
    _oracles: dict[tuple[int, ...], tuple[Segmentation, np.ndarray]] = field(default_factory=dict)

    @cached_property
    def model(self) -> ODISE:
        """The model in float32, on the device."""
        return load_weights(self.preset, self.weights).eval().requires_grad_(False).to(self.device)

    @cached_property
    def half(self) -> ODISE:
        """The model in half precision with float32 islands."""
        return techniques.half_model(self.model)

    @cached_property
    def texts(self) -> tuple[EncodedTexts, frozenset[int]]:
        """The vocabulary, encoded once."""
        vocabulary = Vocabulary.parse(self.vocabulary)
        with torch.inference_mode():
            return self.model.encode(vocabulary.synonyms), frozenset(things_of(vocabulary))

    def picture(self, size: tuple[int, int]) -> Picture:
        """Return the photo at a size, in pinned memory."""
        pixels = torch.from_numpy(self.pixels(size))
        return Picture(pixels.pin_memory() if self.device.type == "cuda" else pixels, *self.texts)

    def pixels(self, size: tuple[int, int]) -> np.ndarray:
        """Return the photo at a size, uint8 (H, W, 3)."""
        with Image.open(PHOTO) as photo:
            return np.array(photo.convert("RGB").resize(size[::-1], Image.Resampling.BILINEAR))

    def time(self, technique: Technique, picture: Picture, *, warmup: int = 3) -> dict[str, Any]:
        """Time one technique, and compare its results with those of the official pass in float32."""
        segment, around = technique
        kept: list[tuple[Segmentation, np.ndarray]] = []

        def work(clock: Any) -> None:
            kept[:] = [segment(picture, clock)]

        with around():
            found = measure(work, self.device, repeats=self.repeats, seconds=self.seconds, warmup=warmup)
        return found | distance(*kept[0], *self._oracle(picture))

    def _oracle(self, picture: Picture) -> tuple[Segmentation, np.ndarray]:
        size = tuple(picture.pixels.shape[:2])
        if size not in self._oracles:
            segment, around = techniques.waterfall(self.model, None, self.device)["official, fp32"]
            with around():
                self._oracles[size] = segment(picture, untimed)
        return self._oracles[size]


def distance(
    found: Segmentation, panoptic: np.ndarray, oracle: Segmentation, expected: np.ndarray
) -> dict[str, float]:
    """Return the distances of results from those of the oracle."""

    def relative_l2(one: torch.Tensor, other: torch.Tensor) -> float:
        one, other = one.double(), other.double()
        return float((one - other).norm() / other.norm())

    masks, others = found.mask_pred > 0, oracle.mask_pred > 0
    union = (masks | others).flatten(1).sum(1)
    iou = (masks & others).flatten(1).sum(1)[union > 0] / union[union > 0]
    return {
        "mask_cls_relative_l2": relative_l2(found.mask_cls.exp(), oracle.mask_cls.exp()),
        "mask_pred_relative_l2": relative_l2(found.mask_pred, oracle.mask_pred),
        "mask_iou": float(iou.mean()) if len(iou) else 1.0,
        "panoptic_agreement": float((panoptic == expected).mean()),
    }


def _is_half(name: str) -> bool:
    return "fp16" in name and "autocast" not in name


#: Part of the waterfall -> whether a technique belongs to it. Half precision is another model.
GROUPS: dict[str, Callable[[str], bool]] = {
    "official": lambda name: name.startswith("official"),
    "pruned": lambda name: name.startswith("pruned") and not _is_half(name),
    "half": _is_half,
}


def waterfall(bench: Bench, group: str) -> Iterator[tuple[str, Any]]:
    """Measure the techniques of a group on the first size, and the slowest and fastest few on the others."""
    half = bench.half if group == "half" else None
    every = techniques.waterfall(bench.model, half, bench.device)
    also = {"official, fp32", *list(every)[-3:]} if group != "pruned" else set()
    for number, size in enumerate(bench.sizes):
        picture = bench.picture(size)
        for name in every:
            if GROUPS[group](name) and (number == 0 or name in also):
                yield f"{size[0]}x{size[1]}/{name}", safely(partial(bench.time, every[name], picture))


def floor(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Measure the card's ceilings. Per stage, count work and least traffic, and the time for both."""
    limits = ceilings(bench.device, 8192 if bench.device.type == "cuda" else 256)
    yield "ceilings", limits
    rate = "fp16_flops" if bench.device.type == "cuda" else "fp32_flops"  # no CPU is faster in fp16
    picture = bench.picture(bench.sizes[0])
    for stage, (flops, least) in _work(bench, picture).items():
        seconds = max(flops / limits[rate], least / limits["copy_bytes"])
        yield stage, {"flops": flops, "bytes": least, "floor_seconds": seconds}


def growth(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Measure batches of 1, 4, 6 and 10 windows, and up to 10,000 categories."""
    window = bench.model.preset.window
    on_gpu = bench.device.type == "cuda"  # half precision on a CPU takes twenty times as long
    every = techniques.waterfall(bench.model, bench.half if on_gpu else None, bench.device)
    segment = every["pruned, batched, fp16" if on_gpu else "pruned, batched, fp32"]
    for rows, columns in ((1, 1), (2, 2), (2, 3), (2, 5)):
        picture = bench.picture((rows * window, columns * window))
        yield f"{rows * columns} windows", safely(partial(bench.time, segment, picture))
    picture = bench.picture(bench.sizes[0])
    with torch.inference_mode():
        planes = as_planes(picture.pixels.to(bench.device))
        padded = bench.model.pad(planes)
        head = bench.model.mask_head(*image_features(bench.model.backbone, padded))
        for count in (20, 133, 1500, 10_000):
            encoded = _random_texts(bench.model, count)

            def work(clock: Any, encoded: EncodedTexts = encoded) -> None:
                bench.model.classify(planes, head, encoded).mask_cls.cpu()

            yield f"{count} categories", measure(work, bench.device, repeats=20, seconds=3.0)


def compiled(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Measure torch.compile on the first size."""
    size = bench.sizes[0]
    for name, technique in techniques.compiled(bench.model, bench.device).items():
        yield f"{size[0]}x{size[1]}/{name}", safely(partial(bench.time, technique, bench.picture(size)))


def safely(work: Callable[[], Any]) -> Any:
    """Return the result of `work`, or the reason of its failure, so that the other numbers are measured."""
    try:
        return work()
    except Exception as error:
        torch.cuda.empty_cache()
        return {"error": f"{type(error).__name__}: {str(error)[:300]}"}


def _work(bench: Bench, picture: Picture) -> dict[str, tuple[int, int]]:
    """Return stage -> (FLOPs, least bytes to move: its weights in half precision, read once)."""
    model = bench.model
    weights = {
        "captioner": model.clip.visual,
        "features": torch.nn.ModuleList([model.features.diffusion, model.features.feature_projections]),
        "mask_head": model.mask_head,
        "clip_pool": model.clip.visual,
    }
    found: dict[str, tuple[int, int]] = {}

    @contextmanager
    def counting(stage: str) -> Iterator[None]:
        with FlopCounterMode(display=False) as counter:
            yield
        if stage in weights:
            least = 2 * sum(parameter.numel() for parameter in weights[stage].parameters())
            found[stage] = counter.get_total_flops(), least

    segment, around = techniques.waterfall(model, None, bench.device)["pruned, batched, fp32"]
    with around():
        segment(picture, counting)
    return found


def _random_texts(model: ODISE, count: int) -> EncodedTexts:
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    preset = model.preset

    def rows(width: int) -> torch.Tensor:
        return torch.randn(count, width, generator=generator).to(device)

    labels = tuple((f"category {number}",) for number in range(count))
    width = preset.clip.embed_dim
    return EncodedTexts(labels, rows(width), rows(preset.head.mask_dim), rows(width))

"""The techniques of the waterfall. Each turns a model into a function that segments one picture.

All start with a resized uint8 picture on the host, and end with the panoptic map on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.runners import OVERLAP_THRESHOLD
from export.precision import HalfPrecision, HalfStage
from reference.model import ODISE, Segmentation
from reference.model.clock import Clock
from reference.model.open_vocabulary import EncodedTexts
from reference.oracle import segment_official

#: Modules whose weights stay float32 in half precision, as in the exported stages.
FLOAT32 = ("sem_seg_head.predictor",)


@dataclass(frozen=True)
class Picture:
    """A picture, uint8 (H, W, 3) on the host, its texts on the device, and the categories that are things."""

    pixels: Tensor
    encoded: EncodedTexts
    things: frozenset[int]


#: (picture, clock) -> results on the device, and the panoptic map on the host.
Segment = Callable[[Picture, Clock], tuple[Segmentation, np.ndarray]]
#: The function that segments, and the context for all its runs.
Technique = tuple[Segment, Callable[[], AbstractContextManager[Any]]]


def segmenting(call: Callable[..., Segmentation], device: torch.device, around: Any = nullcontext) -> Segment:
    """Make a technique from a function with the signature of `ODISE.segment`, called inside a context."""

    def segment(picture: Picture, clock: Clock) -> tuple[Segmentation, np.ndarray]:
        with torch.inference_mode(), around():
            pixels = picture.pixels.to(device, non_blocking=True)
            found = call(
                pixels, picture.encoded, picture.things, overlap_threshold=OVERLAP_THRESHOLD, clock=clock
            )
            with clock("postprocess"):
                return found, found.panoptic.map.cpu().numpy()

    return segment


def half_model(model: ODISE) -> ODISE:
    """Copy the model in half precision, with the float32 islands of the exported stages."""
    half: ODISE = HalfStage(model, (), FLOAT32).stage  # type: ignore[assignment]
    return half


def autocast(device: torch.device, dtype: torch.dtype) -> Callable[[], AbstractContextManager[Any]]:
    """Return contexts of PyTorch's own mixed precision."""
    return partial(torch.autocast, device.type, dtype=dtype)


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Set in the block whether float32 products may round their operands to TF32's 10 bits."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


class Graphed:
    """A function of tensors of fixed shapes as one CUDA graph: recorded by the first call, then replayed."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call
        self._graph: Any = None
        self._inputs: tuple[Tensor, ...] = ()
        self._output: Any = None

    def __call__(self, *inputs: Tensor) -> Any:
        """Return the function's result, in memory that the next call overwrites."""
        if self._graph is None:
            self._record(inputs)
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given)
        self._graph.replay()
        return self._output

    def _record(self, inputs: tuple[Tensor, ...]) -> None:
        self._inputs = tuple(one.clone() for one in inputs)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):  # libraries choose their kernels before the recording
                self._call(*self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = self._call(*self._inputs)


@contextmanager
def replaced(
    parts: Sequence[nn.Module], wrap: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    """Wrap the forward passes of some modules in the block, in `Graphed` or torch.compile."""
    for part in parts:
        part.forward = wrap(part.forward)
    try:
        yield
    finally:
        for part in parts:
            del part.forward


@contextmanager
def _both(*contexts: Callable[[], AbstractContextManager[Any]]) -> Iterator[None]:
    if not contexts:
        yield
        return
    with contexts[0](), _both(*contexts[1:]):
        yield


def waterfall(model: ODISE, half: ODISE | None, device: torch.device) -> dict[str, Technique]:
    """Return name -> technique, the slowest first.

    Args:
        model: float32, on the device.
        half: `half_model(model)`. None omits the techniques that need it.
    """
    off, on = partial(tf32, False), partial(tf32, True)
    official = partial(segment_official, model)
    mixed = autocast(device, torch.float16)
    one_by_one = partial(model.segment, batch=1)
    found: dict[str, Technique] = {
        "official, fp32": (segmenting(official, device), off),
        "official, TF32": (segmenting(official, device), on),
        "official, fp16 autocast": (segmenting(official, device, mixed), on),
        "pruned, fp32": (segmenting(one_by_one, device), off),
        "pruned, batched, fp32": (segmenting(model.segment, device), off),
        "pruned, batched, TF32": (segmenting(model.segment, device), on),
        "pruned, batched, fp16 autocast": (segmenting(model.segment, device, mixed), on),
    }
    if half is not None:
        found["pruned, batched, fp16"] = (segmenting(half.segment, device, HalfPrecision), on)
    if half is not None and device.type == "cuda":
        backbone = (half.captioner, half.features)
        for name, parts in {"": backbone, ", mask head too": (*backbone, half.mask_head)}.items():
            graphs = partial(replaced, parts, Graphed)
            found[f"pruned, batched, fp16, CUDA graphs{name}"] = (
                segmenting(half.segment, device, HalfPrecision),
                partial(_both, on, graphs),
            )
    return found


def compiled(model: ODISE, device: torch.device) -> dict[str, Technique]:
    """Return torch.compile of UNet and autoencoder, in mixed precision. Its compilation takes minutes."""
    on = partial(tf32, True)
    wrap = partial(torch.compile, dynamic=False)
    parts = (model.captioner, model.features)
    segment = segmenting(model.segment, device, autocast(device, torch.float16))
    return {
        "pruned, batched, fp16 autocast, torch.compile": (
            segment,
            partial(_both, on, partial(replaced, parts, wrap)),
        )
    }

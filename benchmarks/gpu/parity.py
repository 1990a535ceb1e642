"""Parity on the GPU: every stage and the whole, fp32 and fp16, against the float32 reference on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from export.precision import HalfPrecision
from reference.checkpoint import load_weights
from reference.model import ODISE, Segmentation
from reference.model.clock import untimed
from reference.model.open_vocabulary import EncodedTexts

from . import techniques
from .engines import stage_inputs
from .parts import STAGES
from .sections import Bench, distance

Record = TypeVar("Record", Segmentation, EncodedTexts)


def parity(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Compare the stages at one window and at all windows of the picture, and then whole pictures.

    Yields:
        "STAGE PRECISION N windows": largest absolute difference and relative L2, the worst of its outputs;
        "end to end PRECISION": distances of masks, classes and the panoptic map.
    """
    oracle = load_weights(bench.preset, bench.weights).eval().requires_grad_(False)
    computes: dict[str, tuple[ODISE, Callable[[], AbstractContextManager[Any]]]] = {
        "fp32": (bench.model, partial(techniques.tf32, False)),
        "fp16": (bench.half, HalfPrecision),
    }
    side = bench.sizes[0][0]
    with torch.inference_mode():
        for stage in STAGES:
            everything = stage_inputs(oracle, stage, side, torch.device("cpu"))
            for count in sorted({1, len(everything[0])}):
                inputs = tuple(one[:count] for one in everything)
                expected = _outputs(oracle, stage, inputs)
                for precision, (model, around) in computes.items():
                    with around():
                        found = _outputs(model, stage, tuple(one.to(bench.device) for one in inputs))
                    yield f"{stage} {precision} {count} {_unit(stage)}", _worst(found, expected)
    picture = bench.picture(bench.sizes[0])
    on_cpu = techniques.Picture(picture.pixels, _on_cpu(picture.encoded), picture.things)
    segment = techniques.segmenting(oracle.segment, torch.device("cpu"))
    expected_whole = segment(on_cpu, untimed)
    for precision, (model, around) in computes.items():
        segment = techniques.segmenting(model.segment, bench.device, nullcontext)
        with around():
            found_whole, panoptic = segment(picture, untimed)
        yield f"end to end {precision}", distance(_on_cpu(found_whole), panoptic, *expected_whole)


def _on_cpu(record: Record) -> Record:
    """Copy a dataclass with its tensors on the CPU."""
    tensors = {one.name: getattr(record, one.name) for one in fields(record)}
    moved: Any = {name: one.cpu() for name, one in tensors.items() if isinstance(one, Tensor)}
    return replace(record, **moved)


def _unit(stage: str) -> str:
    return "windows" if stage in ("captioner", "features") else "picture"


def _outputs(model: ODISE, stage: str, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    found = getattr(model, stage)(*inputs)
    if isinstance(found, Tensor):
        return (found,)
    return tuple(one for one in found if isinstance(one, Tensor))


def _worst(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> dict[str, float]:
    pairs = [(one.cpu().double(), other.double()) for one, other in zip(found, expected, strict=True)]
    return {
        "max_abs": max(float((one - other).abs().max()) for one, other in pairs),
        "relative_l2": max(float((one - other).norm() / other.norm()) for one, other in pairs),
    }

"""Work is counted, not timed: nodes, FLOPs, bytes between stages, memory of post-processing.

A number here is what the code did when it was written down. Fewer is progress: write the new number down.
More is a regression, or needs a reason.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.random_table import random_table
from odise_trt.bundle import Bundle
from odise_trt.classify import classify
from odise_trt.masks import MaskTiles
from odise_trt.postprocess import class_probabilities, instances, panoptic
from odise_trt.semantic_map import semantic
from reference.model import ODISE
from reference.preset import DEMO

#: Nodes of the demo bundle for ONNX Runtime, fp32.
NODES = {
    "cut": 39,
    "captioner": 233,
    "features": 2057,
    "stitch": 70,
    "mask_head": 1165,
    "clip_pool": 216,
    "classify": 89,
    "panoptic": 68,
    "assign": 85,
    "paint": 4,
    "semantic": 43,
    "top_instances": 16,
    "instances": 46,
    "text_encoder": 103,
}
#: FLOPs of the demo model for a square picture (four windows), in millions.
MEGAFLOPS = {"captioner": 810, "features": 8334, "mask_head": 679, "clip_pool": 245}
#: Bytes that leave each stage for a square picture.
BYTES = {"captioner": 80_896, "features": 2_785_280, "mask_head": 532_480, "clip_pool": 8_192}


def test_no_graph_has_more_nodes_than_before(demo_bundle: Path) -> None:
    stages = Bundle.open(demo_bundle, "size").manifest.stages
    counts = {
        entry.spec.name: len(onnx.load(demo_bundle / entry.file, load_external_data=False).graph.node)
        for entry in stages
    }
    assert counts == NODES


def test_no_stage_gives_more_bytes_than_before(demo_bundle: Path) -> None:
    """What one stage gives crosses between host and device, and to the next stage."""
    manifest = Bundle.open(demo_bundle, "size").manifest
    sizes = {"windows": 4, "height": 256, "width": 256, "side": 128}
    found = {}
    for stage in BYTES:
        outputs = manifest.stage(stage).spec.outputs
        axes = {axis.name for axis in manifest.stage(stage).spec.axes}
        known = {name: size for name, size in sizes.items() if name in axes}
        found[stage] = sum(int(np.prod(one.resolve(known))) * np.dtype(one.dtype).itemsize for one in outputs)
    assert found == BYTES


def test_no_stage_computes_more_than_before() -> None:
    found = {}

    def count(stage: str, call: Callable[..., object], *inputs: object) -> object:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            result = call(*inputs)
        found[stage] = round(counter.get_total_flops() / 1e6)
        return result

    # Tensors without numbers: only their shapes are computed.
    with FakeTensorMode():
        model = ODISE(DEMO).eval().requires_grad_(False)
        windows, image = torch.rand(4, 3, 128, 128), torch.rand(1, 3, 168, 168)
        condition = count("captioner", model.captioner, windows)
        pyramid = count("features", model.features, windows, *condition)  # type: ignore[misc]
        whole = [one[:1].repeat(1, 1, 2, 2) for one in pyramid]  # type: ignore[attr-defined]
        head = count("mask_head", model.mask_head, *whole)
        count("clip_pool", model.clip_pool, image, head.pred_masks)  # type: ignore[attr-defined]
    assert found == MEGAFLOPS


WORDS = 10_000
#: Most megabytes of arrays at a time, for a hundred masks, ten thousand words and a picture of 512 x 512.
MEGABYTES = {"classify": 24.1, "panoptic": 11.4, "semantic": 9.6, "instance": 36.0}


@pytest.mark.parametrize("part", MEGABYTES)
def test_no_part_of_post_processing_takes_more_memory_than_before(part: str) -> None:
    rng = np.random.default_rng(0)
    masks = (rng.standard_normal((100, 8, 8), dtype=np.float32) * 6).repeat(16, 1).repeat(16, 2)
    tiles = MaskTiles(masks, (512, 512), (512, 512), (512, 512))
    probabilities = class_probabilities(rng.standard_normal((100, WORDS + 1), dtype=np.float32) * 9)
    names, isthing, table = ["name"] * WORDS, [True] * WORDS, random_table(WORDS, 32, 48)
    embeds = [rng.standard_normal((100, width), dtype=np.float32) for width in (32, 48)]
    null, scales = embeds[0][:1], {"logit_scale": 9.0, "clip_logit_scale": 9.0, "alpha": 0.3, "beta": 0.7}
    assert len(table.unit_text_embed) == len(table.unit_clip_text_embed) == len(table.starts)
    work = {
        "classify": lambda: classify(*embeds, table, null_embed=null, **scales),
        "panoptic": lambda: panoptic(tiles, probabilities, names, isthing, 0.0, 0.8),
        "semantic": lambda: semantic(tiles, probabilities),
        "instance": lambda: instances(tiles, probabilities, names, isthing, 100),
    }
    tracemalloc.start()
    work[part]()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # numpy's own bookkeeping differs a little from version to version.
    assert peak / 1e6 <= MEGABYTES[part] * 1.02

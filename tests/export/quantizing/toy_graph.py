"""A half-precision graph of three layers, as a part of CLIP has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

#: Names of nodes: a patch embedding, a product that is quantized, and the last one.
FIRST = "stage/clip_pool/clip/visual/conv1/MatMul"
INNER = "stage/clip_pool/clip/visual/transformer/resblocks/0/mlp/c_fc/MatMul"
LAST = "stage/clip_pool/MatMul"
WIDTH = 32


def write(path: Path, seed: int = 0) -> Path:
    """x (N, 32) -> y (N, 32), in float16."""
    random = np.random.default_rng(seed)
    names = ("first", "inner", "stage.clip_pool.clip.visual.proj")
    weights = [
        numpy_helper.from_array(random.normal(0, 0.1, (WIDTH, WIDTH)).astype(np.float16), name)
        for name in names
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"], FIRST),
        helper.make_node("MatMul", ["a", "inner"], ["b"], INNER),
        helper.make_node("MatMul", ["b", names[2]], ["y"], LAST),
    ]
    half = onnx.TensorProto.FLOAT16
    ends = [[helper.make_tensor_value_info(name, half, ["n", WIDTH])] for name in ("x", "y")]
    graph = helper.make_graph(nodes, "clip_pool", *ends, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


def sample(path: Path, seed: int = 1) -> Path:
    """Write inputs for it."""
    x = np.random.default_rng(seed).normal(size=(8, WIDTH)).astype(np.float16)
    np.savez(path, allow_pickle=False, x=x)
    return path

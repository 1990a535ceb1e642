"""A tiny bundle that really runs: hand-made ONNX graphs that find red, green and blue.

Windows of 128 pixels, three feature channels (the colours, averaged per cell, plus a trace of what the
captioner says), four queries: one per colour, one that never fires. Query embeddings equal the text
embeddings of "red", "green" and "blue", so those names are what the queries are classified as.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from odise_trt.bundle import BundleWriter
from odise_trt.bundle.bundle import sha256_of
from odise_trt.bundle.manifest import CONSTANTS, TOKENIZER, Manifest, ModelSpec, StageEntry
from odise_trt.features.names import RAW, RAW_STAGE
from odise_trt.stage_spec import Axis, Profile, StageSpec, Tensor

WINDOW, SHORT_SIDE, MAX_SIDE, DIVISOR = 128, 128, 320, 64
CONTEXT, CHANNELS, TIME, QUERIES, MASK_DIM, CLIP_DIM, CLIP_IMAGE = 77, 4, 5, 4, 8, 16, 28
COLOURS = ("red", "green", "blue")
CLIP_PROMPT = "a photo of a {}."
MAX_WINDOWS = 4

_LETTERS = "abcdefghijklmnopqrstuvwxyz."
_START, _END = 2 * len(_LETTERS) + 1, 2 * len(_LETTERS) + 2

#: Feature map -> pixels of the image per element.
LEVELS = {"s2": 4, "s3": 8, "s4": 16, "s5": 32}
#: Raw feature -> pixels of the image per element.
RAW_LEVELS = dict(zip(RAW, (4, 8, 64, 32, 16, 8, 8, 4), strict=True))
MODEL = ModelSpec(
    kind="label",
    short_side=SHORT_SIDE,
    max_side=MAX_SIDE,
    divisor=DIVISOR,
    window=WINDOW,
    num_queries=QUERIES,
    mask_embed_dim=MASK_DIM,
    clip_dim=CLIP_DIM,
    clip_image_size=CLIP_IMAGE,
    context_length=CONTEXT,
    category_prompt=None,
    clip_prompt=CLIP_PROMPT,
    train_labels=(("red", "crimson"),),
    alpha=0.3,
    beta=0.7,
)


def make(
    target: Path,
    graphs: Mapping[str, onnx.ModelProto] | None = None,
    declared: Mapping[str, StageSpec] | None = None,
    raw: bool = False,
    **changes: Any,
) -> Path:
    """Write the bundle; `graphs` and `declared` replace stages, `changes` are fields of the manifest.

    Args:
        raw: with the optional stage `raw_features`.
    """
    made = {**stage_graphs(), RAW_STAGE: raw_graph(), **(graphs or {})}
    with BundleWriter(target) as writer:
        write_tokenizer(writer.folder / TOKENIZER)
        np.savez(
            writer.folder / CONSTANTS,
            logit_scale=np.float32(50),
            clip_logit_scale=np.float32(50),
            null_embed=_projected(_text_embed(["nothing"])),
        )
        entries = []
        for usual in (*specs(), raw_spec()) if raw else specs():
            spec = (declared or {}).get(usual.name, usual)
            file = f"{spec.name}.onnx"
            onnx.save(made[spec.name], writer.folder / file)
            entries.append(StageEntry(spec, file, (file,), sha256_of(writer.folder / file), 0.0, 0))
        manifest = Manifest(
            preset="toy",
            precision="fp32",
            weights={"source": "hand-made", "sha256": "0" * 64, "seeded": True},
            backend={"name": "onnxruntime", "version": "1.22"},
            model=MODEL,
            stages=tuple(entries),
            files=writer.files(),
        )
        replace(manifest, **changes).write(writer.folder)
    return target


def write_tokenizer(path: Path) -> None:
    """A tokenizer of single letters, in the format of a bundle's."""
    vocabulary = {"!": 0}
    for index, letter in enumerate(_LETTERS):
        vocabulary[letter] = 1 + index
        vocabulary[f"{letter}</w>"] = 1 + len(_LETTERS) + index
    vocabulary["<start_of_text>"], vocabulary["<end_of_text>"] = _START, _END
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[a-z]+|\."), behavior="removed", invert=True)
    tokenizer.save(str(path))


def specs() -> tuple[StageSpec, ...]:
    """The stages, by the contract of the real ones."""
    windows = Tensor("windows", "float32", ("windows", 3, "side", "side"))
    condition = (
        Tensor("cond_inputs", "float32", ("windows", CONTEXT, CHANNELS)),
        Tensor("cond_emb", "float32", ("windows", TIME)),
    )
    pred_masks = Tensor("pred_masks", "float32", (1, QUERIES, "height/4", "width/4"))
    window_axes = (
        Axis("windows", 1, 1, MAX_WINDOWS),
        Axis("side", DIVISOR, WINDOW, WINDOW, DIVISOR),
    )
    image_axes = tuple(Axis(name, DIVISOR, 128, MAX_SIDE, DIVISOR) for name in ("height", "width"))
    texts = Profile("texts", {"texts": (1, 2, 2)})

    def stage(name: str, inputs: tuple, outputs: tuple, axes: tuple, profiles: tuple = ()) -> StageSpec:
        return StageSpec(name, inputs, outputs, axes, profiles)

    return (
        stage("captioner", (windows,), condition, window_axes),
        stage(
            "features",
            (windows, *condition),
            tuple(
                Tensor(name, "float32", ("windows", 3, f"side/{stride}", f"side/{stride}"))
                for name, stride in LEVELS.items()
            ),
            window_axes,
        ),
        stage(
            "mask_head",
            tuple(
                Tensor(name, "float32", (1, 3, f"height/{stride}", f"width/{stride}"))
                for name, stride in LEVELS.items()
            ),
            (pred_masks, Tensor("mask_embed", "float32", (1, QUERIES, MASK_DIM))),
            image_axes,
        ),
        stage(
            "clip_pool",
            (Tensor("clip_image", "float32", (1, 3, CLIP_IMAGE, CLIP_IMAGE)), pred_masks),
            (Tensor("clip_mask_embed", "float32", (1, QUERIES, CLIP_DIM)),),
            image_axes,
        ),
        stage(
            "text_encoder",
            (Tensor("tokens", "int64", ("texts", CONTEXT)),),
            (
                Tensor("clip_text_embed", "float32", ("texts", CLIP_DIM)),
                Tensor("text_embed", "float32", ("texts", MASK_DIM)),
            ),
            (Axis("texts", 1, 2, 2),),
            (texts,),
        ),
    )


def raw_spec() -> StageSpec:
    """The optional stage of raw features."""
    features = next(spec for spec in specs() if spec.name == "features")
    return replace(
        features,
        name=RAW_STAGE,
        inputs=(*features.inputs, Tensor("time_step", "int64", (1,))),
        outputs=tuple(
            Tensor(name, "float32", ("windows", 3, f"side/{stride}", f"side/{stride}"))
            for name, stride in RAW_LEVELS.items()
        ),
    )


def raw_graph() -> onnx.ModelProto:
    """The colours, averaged per place, plus the time step."""
    node = helper.make_node
    nodes = [node("Cast", ["time_step"], ["late"], to=TensorProto.FLOAT)]
    for name, stride in RAW_LEVELS.items():
        size = {"kernel_shape": [stride] * 2, "strides": [stride] * 2}
        nodes += [
            node("AveragePool", ["windows"], [f"{name}_mean"], **size),
            node("Add", [f"{name}_mean", "late"], [name]),
        ]
    return model(raw_spec(), nodes)


def _letter_table() -> np.ndarray:
    table = np.random.default_rng(5).standard_normal((_END + 1, CLIP_DIM)).astype(np.float32)
    table[[0, _START, _END]] = 0
    return table


def _projection() -> np.ndarray:
    return np.random.default_rng(6).standard_normal((CLIP_DIM, MASK_DIM)).astype(np.float32)


def _text_embed(texts: list[str]) -> np.ndarray:
    """What the text encoder below gives: the sum of the letters' rows."""
    table = _letter_table()
    rows = []
    for text in texts:
        ids = []
        for word in text.replace(".", " .").split():
            ids += [1 + _LETTERS.index(letter) for letter in word[:-1]]
            ids += [1 + len(_LETTERS) + _LETTERS.index(word[-1])]
        rows.append(table[ids].sum(axis=0))
    return np.stack(rows)


def _projected(text_embed: np.ndarray) -> np.ndarray:
    return text_embed @ _projection()


def stage_graphs() -> dict[str, onnx.ModelProto]:
    """The graphs of all stages."""
    by_name = {spec.name: spec for spec in specs()}
    node = helper.make_node
    graphs = {
        "captioner": model(
            by_name["captioner"],
            [
                node("ReduceMean", ["windows", "pixels"], ["mean"], keepdims=0),
                node("Reshape", ["mean", "row"], ["mean_row"]),
                node("MatMul", ["mean_row", "ones_time"], ["cond_emb"]),
                node("Reshape", ["mean", "block"], ["mean_block"]),
                node("Mul", ["mean_block", "ones_text"], ["cond_inputs"]),
            ],
            pixels=np.array([1, 2, 3]),
            row=np.array([-1, 1]),
            block=np.array([-1, 1, 1]),
            ones_time=np.ones((1, TIME), np.float32),
            ones_text=np.ones((1, CONTEXT, CHANNELS), np.float32),
        )
    }
    features = [
        node("ReduceMean", ["cond_inputs", "last_two"], ["said"], keepdims=0),
        node("ReduceMean", ["cond_emb", "last_one"], ["timed"], keepdims=0),
        node("Add", ["said", "timed"], ["both"]),
        node("Mul", ["both", "trace"], ["little"]),
        node("Reshape", ["little", "block"], ["offset"]),
    ]
    for name, stride in LEVELS.items():
        features += [
            node(
                "AveragePool",
                ["windows"],
                [f"{name}_mean"],
                kernel_shape=[stride] * 2,
                strides=[stride] * 2,
            ),
            node("Add", [f"{name}_mean", "offset"], [name]),
        ]
    graphs["features"] = model(
        by_name["features"],
        features,
        last_two=np.array([1, 2]),
        last_one=np.array([1]),
        trace=np.array(0.001, np.float32),
        block=np.array([-1, 1, 1, 1]),
    )
    # Each colour's query fires where its channel passes the sum of the others by a quarter.
    colour = 20 * (2 * np.eye(3, dtype=np.float32) - 1)
    weight = np.concatenate([colour, np.zeros((1, 3), np.float32)])[:, :, None, None]
    graphs["mask_head"] = model(
        by_name["mask_head"],
        [
            node("Conv", ["s2", "weight", "bias"], ["pred_masks"]),
            node("Identity", ["queries"], ["mask_embed"]),
        ],
        weight=weight,
        bias=np.array([-5, -5, -5, -30], np.float32),
        queries=_projected(_text_embed([*COLOURS, "nothing"]))[None],
    )
    graphs["clip_pool"] = model(
        by_name["clip_pool"],
        [
            node("ReduceMean", ["clip_image"], ["mean"], keepdims=0),
            node("Mul", ["mean", "zero"], ["nil"]),
            node("Add", ["nil", "queries"], ["clip_mask_embed"]),
        ],
        zero=np.array(0, np.float32),
        queries=_text_embed([CLIP_PROMPT.format(name) for name in (*COLOURS, "nothing")])[None],
    )
    graphs["text_encoder"] = model(
        by_name["text_encoder"],
        [
            node("Gather", ["table", "tokens"], ["letters"]),
            node("ReduceSum", ["letters", "second"], ["clip_text_embed"], keepdims=0),
            node("MatMul", ["clip_text_embed", "projection"], ["text_embed"]),
        ],
        table=_letter_table(),
        second=np.array([1]),
        projection=_projection(),
    )
    return graphs


def model(spec: StageSpec, nodes: list[onnx.NodeProto], **constants: np.ndarray) -> onnx.ModelProto:
    """An ONNX model with the inputs and outputs of a stage."""
    types = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "int64": TensorProto.INT64}
    values = [
        [
            helper.make_tensor_value_info(
                t.name, types[t.dtype], [str(d) if isinstance(d, str) else d for d in t.shape]
            )
            for t in side
        ]
        for side in (spec.inputs, spec.outputs)
    ]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, spec.name, *values, initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(made)
    return made

"""Which layers are quantized is a rule of ours, by their names."""

from __future__ import annotations

from collections import Counter

import onnx
import onnx_ir as ir
import pytest

from export.quantizing.selection import Layer, select
from odise_trt.errors import ExportError
from reference.preset import DEMO, ODISE_LABEL

UNET = "stage/features/diffusion/unet"
BLOCK = f"{UNET}/down_blocks/0/attentions/0/transformer_blocks/0"


def graph_of(*layers: tuple[str, tuple[int, ...]]) -> ir.Graph:
    """A graph of layers: the name of a node, which ends with its operator, and the shape of its weights."""
    nodes = []
    x = ir.Value(name="x")
    for number, (name, shape) in enumerate(layers):
        weight = f"weight_{number}" if "visual/proj" not in name else "stage.clip_pool.clip.visual.proj"
        value = ir.Value(name=weight, const_value=ir.TensorProtoTensor(_empty(shape, weight)))
        nodes.append(ir.node(name.rpartition("/")[2].split("_")[0], [x, value], name=name))
    return ir.Graph([x], [], nodes=nodes, name="graph")


def _empty(shape: tuple[int, ...], name: str) -> onnx.TensorProto:
    """Weights of no numbers: only their shape is looked at."""
    return onnx.TensorProto(name=name, dims=shape, data_type=onnx.TensorProto.FLOAT16)


def kept(stage: str, graph: ir.Graph, preset: object = ODISE_LABEL) -> dict[str, str | None]:
    return {layer.node: layer.kept for layer in select(stage, graph, preset)}  # type: ignore[arg-type]


#: A layer that is quantized: without one there is nothing to do, which is an error.
CONV = (f"{UNET}/down_blocks/0/resnets/0/conv1/Conv", (320, 320, 3, 3))


@pytest.mark.parametrize(
    ("name", "shape", "why"),
    [
        (f"{UNET}/conv_in/Conv", (320, 32, 3, 3), "first or last convolution"),
        (f"{UNET}/conv_out/Conv", (32, 320, 3, 3), "first or last convolution"),
        (f"{UNET}/time_embedding/linear_2/Gemm", (1280, 1280), "time embedding"),
        (f"{UNET}/down_blocks/0/resnets/0/time_emb_proj/Gemm", (320, 1280), "time embedding"),
        ("stage/features/diffusion/vae/encoder/mid_block/attentions/0/to_q/MatMul", (512, 512), "VAE"),
        ("stage/features/diffusion/vae/decoder/conv_in/Conv", (512, 64, 3, 3), "VAE"),
        ("stage/features/feature_projections/0/0/conv1/Conv", (128, 512, 1, 1), "projection of features"),
        (f"{UNET}/mid_block/resnets/0/conv1/Conv", (320, 8, 3, 3), "16 channels or fewer"),
        (f"{UNET}/mid_block/resnets/0/conv1/Conv", (64, 64, 7, 7), "more than 32 places"),
        (f"{UNET}/mid_block/resnets/0/conv1/Conv", (64, 64, 3, 3), None),
        (f"{BLOCK}/ff/net/2/MatMul", (1280, 320), None),
    ],
)
def test_a_layer_of_the_features_stays_in_half_precision_for_a_reason(
    name: str, shape: tuple[int, ...], why: str | None
) -> None:
    assert kept("features", graph_of(CONV, (name, shape)))[name] == why


@pytest.mark.parametrize(("width", "why"), [(40, "attention with heads of 40"), (80, None), (160, None)])
def test_attention_is_quantized_if_its_heads_are_a_multiple_of_16_wide(width: int, why: str | None) -> None:
    channels = width * ODISE_LABEL.unet.num_heads
    parts = [f"{BLOCK}/attn1/{part}/MatMul" for part in ("to_q", "to_k", "to_v", "to_out/0")]
    graph = graph_of(CONV, *((part, (channels, channels)) for part in parts))
    found = kept("features", graph)
    assert {part: found[part] for part in parts} == dict.fromkeys(parts, why)


def test_the_first_and_the_last_layer_of_clip_stay_in_half_precision() -> None:
    names = [
        ("stage/clip_pool/clip/visual/conv1/Conv", (1024, 32, 4, 4)),
        ("stage/clip_pool/MatMul", (1024, 2048)),
        ("stage/clip_pool/clip/visual/proj/MatMul", (1024, 768)),
    ]
    ends = "first or last layer"
    assert list(kept("clip_pool", graph_of(*names)).values()) == [ends, None, ends]


def test_a_product_without_weights_is_no_layer() -> None:
    graph = graph_of(CONV)
    x = graph.inputs[0]
    graph.append(ir.node("MatMul", [x, x], name=f"{BLOCK}/attn1/MatMul"))
    assert list(kept("features", graph)) == [CONV[0]]


def test_a_graph_without_a_layer_to_quantize_is_refused() -> None:
    with pytest.raises(ExportError, match="no layer of stage features is quantized, of 1"):
        select("features", graph_of(("stage/renamed/conv1/Conv", (64, 64, 3, 3))), DEMO)


def test_a_layer_is_named_by_its_module() -> None:
    conv = Layer(CONV[0], "Conv", (320, 320, 3, 3), None)
    assert conv.module == "features.diffusion.unet.down_blocks.0.resnets.0.conv1"
    assert Counter(
        Layer(f"stage/clip_pool/MatMul{n}", "MatMul", (8, 8), None).module for n in ("", "_7")
    ) == {
        "clip_pool": 1,
        "clip_pool_7": 1,
    }

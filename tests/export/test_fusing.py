"""Fused operators: what is found, that it is the same when expanded, and what is left alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.fusing import DOMAIN, RULES, fuse, label
from export.fusing.expansion import expand
from export.fusing.sizes import _crossings, _on_host
from export.onnx_graph import quiet, simplify
from export.precision import HalfPrecision
from odise_trt.backends import BACKENDS
from odise_trt.errors import ExportError


class Attention(nn.Module):
    """Two heads of four numbers. Queries of their own if there are any, and a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(8, 8) for _ in range(4))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        def heads(one: Tensor) -> Tensor:
            return one.view(*one.shape[:2], 2, 4).transpose(1, 2)

        made = F.scaled_dot_product_attention(
            heads(self.query(x)), heads(self.key(x)), heads(self.value(x)), attn_mask=mask
        )
        return self.out(made.transpose(1, 2).flatten(2))


class Residual(nn.Module):
    """A residual block of diffusers: norms, an embedding of a time step, and a sum that is divided by one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(3))
        self.norm_1, self.norm_2, self.norm_3, self.norm_4 = (nn.GroupNorm(2, 8) for _ in range(4))
        self.time = nn.Linear(8, 8)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        hidden = self.first(F.silu(self.norm_1(x))) + self.time(embedding)[:, :, None, None]
        hidden = (x + self.second(F.silu(self.norm_2(hidden)))) / 1.0
        return hidden + self.norm_4(self.third(F.relu(self.norm_3(hidden))))


class Halved(nn.Module):
    """The way down of Stable Diffusion's VAE."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(x))


class Plain(nn.Module):
    """Nothing that could be fused."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.linear(x))


class Summed(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x.sum(-1) + y.sum(-1, keepdim=True)[..., 0] + x.sum(0)[:, 0] + F.pad(y, (0, 60)).sum(-1)


class Gated(nn.Module):
    """The gated unit of Stable Diffusion's transformers, with its least number of channels."""

    def __init__(self, channels: int = 2560) -> None:
        super().__init__()
        self.linear, self.out = nn.Linear(8, channels), nn.Linear(channels // 2, 8)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.linear(x).chunk(2, dim=-1)
        return self.out(value * F.gelu(gate))


class Sampled(nn.Module):
    """Three points of every query, as deformable attention samples them."""

    def forward(self, maps: Tensor, grid: Tensor, share: Tensor) -> Tensor:
        samples = F.grid_sample(maps, grid, align_corners=False)
        return (samples * share[:, None]).sum(-1)


class Cut(nn.Module):
    """Parts of several sizes: known ones, and ones that the inputs decide."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        first, second = torch.cat([x, y]).split([x.shape[0], y.shape[0]])
        left, right = first.split([1, 3], dim=1)
        return (left * right).sum() + second


class Broadcast(nn.Module):
    """One matrix times several, several times several of another axis, and several times one."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (x[0] @ y) + (x[:, None] @ y[None]).sum(0) + (y @ x[0])


class Positions(nn.Module):
    """Numbers that follow from a size, and a size that only says how many."""

    def forward(self, x: Tensor) -> Tensor:
        count = x.shape[0]
        rows = (torch.arange(count, dtype=torch.float32) + 0.5) * (count / 512)
        columns = torch.arange(count, dtype=torch.float32) / (count + 1e-6)
        return x * rows[:, None] + columns[:, None] + torch.zeros(count, 1)


def graph_of(module: nn.Module, inputs: tuple[Tensor, ...]) -> ir.Model:
    """Export a module with half weights, as `export.onnx_export` does."""
    torch.manual_seed(0)
    for one in module.modules():
        if not isinstance(one, nn.GroupNorm | nn.LayerNorm):
            for parameter in one.parameters(recurse=False):
                parameter.data = parameter.data.half()
    for parameter in module.parameters():
        if parameter.dtype == torch.float32:
            parameter.data = torch.rand_like(parameter) + 0.5
    dims = tuple({0: torch.export.Dim.DYNAMIC} if one.shape[0] > 1 else None for one in inputs)
    with torch.no_grad(), quiet(), HalfPrecision():
        program = torch.export.export(module.eval(), inputs, dynamic_shapes=(*dims,), strict=False)
    with quiet():
        made = torch.onnx.export(program, dynamo=True, opset_version=21, optimize=False, verbose=False)
    assert made is not None
    simplify(made.model)
    return made.model


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ir.Model]:
    """The graph of a module, one for each class: exported once, and read again for each test."""
    folder = tmp_path_factory.mktemp("graphs")

    def graph(module: nn.Module, inputs: tuple[Tensor, ...]) -> ir.Model:
        path = folder / f"{type(module).__name__}.onnx"
        if not path.exists():
            ir.save(graph_of(module, inputs), path)
        return ir.load(path)

    return graph


def run(model: ir.Model, path: Path, inputs: tuple[Tensor, ...]) -> np.ndarray:
    ir.save(model, path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    return session.run(None, {n: x.numpy() for n, x in zip(names, inputs, strict=True)})[0].astype(np.float64)


def half(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).half()


@pytest.mark.parametrize(
    ("module", "inputs", "rules", "operators"),
    [
        pytest.param(
            Attention(),
            (half(3, 5, 8), torch.where(half(1, 1, 5, 5) > 0, -4.0, 0.0).half()),
            ["attention"],
            {"MultiHeadAttention": 1, "Softmax": 0},
            id="attention with a mask",
        ),
        pytest.param(
            Residual(),
            (half(3, 8, 6, 4), half(3, 8)),
            ["group_norm"],
            {"GroupNorm": 4, "SkipGroupNorm": 0, "GroupNormalization": 0, "Sigmoid": 0, "Relu": 1},
            id="group norms",
        ),
        pytest.param(
            Residual(),
            (half(3, 8, 6, 4), half(3, 8)),
            ["group_norm", "skip_group_norm"],
            # The first norm is that of the input. Of the three sums before norms none is left.
            {"GroupNorm": 1, "SkipGroupNorm": 3, "Div": 0, "Add": 1},
            id="group norms that add first",
        ),
        pytest.param(
            Normed(),
            (half(3, 5, 8),),
            ["layer_norm"],
            {"LayerNormalization": 1, "Cast": 0},
            id="layer norm",
        ),
        pytest.param(
            Residual(),
            (half(3, 8, 6, 4), half(3, 8)),
            ["group_norm", "skip_group_norm", "channels_last"],
            {"SkipGroupNorm": 3, "NhwcConv": 3, "Conv": 0},
            id="channels last",
        ),
        pytest.param(
            Gated(),
            (half(3, 5, 8),),
            ["split_gelu"],
            {"BiasSplitGelu": 1, "Split": 0, "Gelu": 0, "Mul": 0},
            id="gated unit",
        ),
        pytest.param(
            Halved(), (half(3, 8, 6, 4),), ["strided_conv"], {"Pad": 0, "Conv": 1}, id="convolution by two"
        ),
    ],
)
def test_what_is_fused_gives_the_same_when_it_is_expanded(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    rules: list[str],
    operators: dict[str, int],
    exported: Callable[..., ir.Model],
    tmp_path: Path,
) -> None:
    model = exported(module, inputs)
    expected = run(model, tmp_path / "plain.onnx", inputs)
    assert min(fuse(model, rules).values()) > 0
    found = Counter(node.op_type for node in model.graph)
    assert {name: found[name] for name in operators} == operators
    # As a file: an output that nobody takes is not written.
    ir.save(model, tmp_path / "fused.onnx")
    again = ir.load(tmp_path / "fused.onnx")
    expand(again)
    assert all(node.domain != DOMAIN for node in again.graph)
    same = run(again, tmp_path / "expanded.onnx", inputs)
    assert np.linalg.norm(same - expected) < 2e-3 * np.linalg.norm(expected)


def test_short_sums_over_the_last_axis_are_products(tmp_path: Path) -> None:
    inputs = (half(3, 5, 4).float(), half(3, 5, 8).float())
    model = graph_of(Summed(), inputs)
    expected = run(model, tmp_path / "plain.onnx", inputs)
    assert fuse(model, ["short_sum"]) == {"short_sum": 2}
    left = Counter(node.op_type for node in model.graph)
    assert (left["MatMul"], left["ReduceSum"]) == (2, 2)
    np.testing.assert_allclose(run(model, tmp_path / "fused.onnx", inputs), expected, rtol=1e-5, atol=1e-5)


def copied(model: ir.Model) -> list[str]:
    """Operators of the device that would take what the host works out."""
    return [node.op_type for node, _ in _crossings(model.graph, _on_host(model.graph))]


@pytest.mark.parametrize("count", [3, 700])
def test_sizes_that_are_computed_with_are_counted_on_the_device(
    count: int, exported: Callable[..., ir.Model], tmp_path: Path
) -> None:
    inputs = (half(5, 4).float(),)
    model = exported(Positions(), inputs)
    given = (half(count, 4).float(),)
    expected = run(model, tmp_path / "plain.onnx", given)
    crossing = copied(model)
    assert crossing
    assert fuse(model, ["device_sizes"]) == {"device_sizes": len(crossing)}
    assert copied(model) == []
    # Ranges have their length from the host, as before.
    assert {"Range", "ConstantOfShape", "ReduceSum"} <= {node.op_type for node in model.graph}
    np.testing.assert_array_equal(run(model, tmp_path / "counted.onnx", given), expected)
    label(model, ["device_sizes"])
    assert model.metadata_props == {"odise_trt.sizes": "on the device"}
    assert fuse(model, ["device_sizes"]) == {"device_sizes": 0}


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        # A length that the device computes: ONNX Runtime would wait for it in the middle of a run.
        (
            "total = ReduceMax <keepdims=0> (x)\n size = Cast <to=7> (total)\n y = Range (zero, size, one)",
            "Range .* reads size on the host, and the device computes it",
        ),
        # A size as an integer: only sizes in float32 are counted.
        (
            "size = Shape (x)\n number = Squeeze (size)\n whole = Cast <to=7> (x)\n y = Mul (whole, number)",
            "Squeeze .* works out number on the host, and the device computes with it",
        ),
    ],
)
def test_what_cannot_be_counted_is_an_error_that_names_the_operator(nodes: str, words: str) -> None:
    text = f"""<ir_version: 10, opset_import: ["" : 21]>
        stage (float[n] x) => (int64[m] y) <int64 zero = {{0}}, int64 one = {{1}}> {{ {nodes} }}"""
    model = ir.from_onnx_text(text)
    with pytest.raises(ExportError, match=words):
        fuse(model, ["device_sizes"])


def test_points_are_sampled_one_by_one_and_added(tmp_path: Path) -> None:
    inputs = (half(2, 8, 6, 4).float(), half(2, 5, 3, 2).float().clamp(-1.1, 1.1), half(2, 5, 3).float())
    model = graph_of(Sampled(), inputs)
    expected = run(model, tmp_path / "plain.onnx", inputs)
    assert fuse(model, ["point_sum", "short_sum"]) == {"point_sum": 1, "short_sum": 0}
    left = Counter(node.op_type for node in model.graph)
    assert (left["GridSample"], left["ReduceSum"], left["MatMul"]) == (3, 0, 0)
    np.testing.assert_allclose(run(model, tmp_path / "fused.onnx", inputs), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("module", "inputs", "changed", "operators"),
    [
        (Cut(), (half(3, 4).float(), half(2, 4).float()), 2, {"Split": 0, "Slice": 6}),
        (Broadcast(), (half(3, 4, 4).float(), half(2, 4, 4).float()), 2, {"MatMul": 3, "Expand": 3}),
    ],
)
def test_arguments_are_not_copied_from_the_host(
    module: nn.Module, inputs: tuple[Tensor, ...], changed: int, operators: dict[str, int], tmp_path: Path
) -> None:
    model = graph_of(module, inputs)
    expected = run(model, tmp_path / "plain.onnx", inputs)
    assert fuse(model, ["by_value"]) == {"by_value": changed}
    found = Counter(node.op_type for node in model.graph)
    assert {name: found[name] for name in operators} == operators
    np.testing.assert_allclose(run(model, tmp_path / "fused.onnx", inputs), expected, rtol=1e-6)
    # Everything is written out: nothing is left to do, and sizes stay where they are.
    assert fuse(model, ["by_value", "device_sizes"]) == {"by_value": 0, "device_sizes": 0}


def test_gated_units_of_other_sizes_stay() -> None:
    assert fuse(graph_of(Gated(512), (half(3, 5, 8),)), ["split_gelu"]) == {"split_gelu": 0}


def test_heads_and_scale_come_from_the_graph(exported: Callable[..., ir.Model]) -> None:
    model = exported(Attention(), (half(3, 5, 8), half(1, 1, 5, 5)))
    fuse(model, ["attention"])
    (node,) = (node for node in model.graph if node.op_type == "MultiHeadAttention")
    assert node.attributes["num_heads"].as_int() == 2
    assert math.isclose(node.attributes["scale"].as_float(), 0.5, rel_tol=1e-3)
    assert model.opset_imports[DOMAIN] == 1


@pytest.mark.parametrize("rule", RULES)
def test_a_graph_without_the_pattern_stays_as_it_is(rule: str, exported: Callable[..., ir.Model]) -> None:
    model = exported(Plain(), (half(3, 8),))
    before = [node.op_type for node in model.graph]
    assert fuse(model, [rule]) == {rule: 0}
    assert [node.op_type for node in model.graph] == before
    assert DOMAIN not in model.opset_imports


def test_group_norms_with_an_odd_number_of_channels_in_a_group_stay() -> None:
    module = nn.Sequential(nn.Conv2d(8, 6, 1), nn.GroupNorm(2, 6), nn.Conv2d(6, 8, 1))
    assert fuse(graph_of(module, (half(3, 8, 6, 4),)), ["group_norm"]) == {"group_norm": 0}


def test_an_unknown_rule_is_named(exported: Callable[..., ir.Model]) -> None:
    model = exported(Plain(), (half(3, 8),))
    with pytest.raises(ExportError, match=r"no rule flash\n.*attention"):
        fuse(model, ["flash", "attention"])


def test_every_rule_that_a_backend_names_is_there() -> None:
    wanted = {rule for entry in BACKENDS.values() for rule in entry.fuses}
    assert wanted
    assert wanted <= RULES.keys()

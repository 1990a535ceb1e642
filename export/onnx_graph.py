"""Simplifies ONNX graphs, names their parts as declared, and checks them."""

from __future__ import annotations

import logging
import os
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import onnxscript.optimizer
from onnx_ir.passes import common as passes
from onnxscript.rewriter import RewritePass
from onnxscript.rewriter.rules import common as rules

from odise_trt.errors import ExportError
from odise_trt.stage_spec import StageSpec, Tensor

from .weight_layout import rearrange

_DTYPES = {
    "float32": onnx.TensorProto.FLOAT,
    "float16": onnx.TensorProto.FLOAT16,
    "int64": onnx.TensorProto.INT64,
    "int32": onnx.TensorProto.INT32,
    "uint8": onnx.TensorProto.UINT8,
}

#: Rewrites that change shapes only, and no number. The full set of onnxscript is not exact: it compares
#: constants to within 1e-8. It would remove the `+ 1e-8` that prevents a division by zero for an empty mask.
_RULES = (
    rules.collapse_slice_rule,
    rules.collapse_slice2_rule,
    rules.materialize_reshape_shape_rule,
    rules.no_op_cast_rule,
    rules.no_op_expand_rule,
    rules.no_op_transpose_rule,
    rules.reshape_reshape_rule,
    rules.squeeze_reshape_1d_rule,
    rules.transpose_transpose_rule,
    rules.unsqueeze_unsqueeze_rule,
)


def simplify(model: ir.Model) -> None:
    """Fold constants, merge equal computations and remove needless reshapes, in place. No number changes."""
    with quiet():
        for _ in range(2):
            # Folding and merging come first: rewriting is slow, and they halve the number of nodes.
            onnxscript.optimizer.fold_constants(model, onnx_shape_inference=True)
            _MERGE(model)
            rearrange(model)
            RewritePass(_RULES)(model)
        _MERGE(model)
        ir.passes.Sequential(passes.OutputFixPass(), passes.NameFixPass())(model)


_MERGE = ir.passes.Sequential(
    passes.RemoveUnusedNodesPass(),
    passes.IdentityEliminationPass(),
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
    passes.DeduplicateInitializersPass(),
    passes.CommonSubexpressionEliminationPass(),
    passes.RemoveUnusedFunctionsPass(),
    passes.RemoveUnusedOpsetsPass(),
)


def tidy(model: ir.Model, spec: StageSpec) -> None:
    """Name nodes after their modules and dimensions as declared. Remove metadata of this machine."""
    graph = model.graph
    used: Counter[str] = Counter()
    for node in graph.all_nodes():
        scopes = node.metadata_props.get("pkg.torch.onnx.name_scopes", "[]")
        scope = [part for part in scopes.strip("[]").replace("'", "").split(", ") if part]
        path = scope[-2] if len(scope) > 1 else ""
        name = "/".join(part for part in (*path.split("."), node.op_type) if part)
        used[name] += 1
        node.name = name if used[name] == 1 else f"{name}_{used[name] - 1}"
        _forget(node)
        for value in node.outputs:
            _forget(value)
            if value not in graph.outputs:
                value.shape = None
                value.type = None
    for tensor, value in zip((*spec.inputs, *spec.outputs), (*graph.inputs, *graph.outputs), strict=False):
        _forget(value)
        _name_dimensions(tensor, value)
    for initializer in graph.initializers.values():
        _forget(initializer)
    model.metadata_props.clear()
    graph.metadata_props.clear()
    model.doc_string = graph.doc_string = None
    graph.name = spec.name
    model.producer_name, model.producer_version = "odise-trt", None


def _forget(thing: Any) -> None:
    thing.metadata_props.clear()
    thing.doc_string = None


def _name_dimensions(tensor: Tensor, value: ir.Value) -> None:
    """Give dynamic dimensions their declared names. `check_graph` reports dimensions that do not fit."""
    if value.shape is None or len(value.shape) != len(tensor.shape):
        return
    named = [
        declared if isinstance(declared, str) and isinstance(found, ir.SymbolicDim) else found
        for declared, found in zip(tensor.shape, value.shape, strict=True)
    ]
    value.shape = ir.Shape(named)


def check_graph(path: Path, spec: StageSpec, domains: Collection[str] = ()) -> Mapping[str, int]:
    """Compare a written graph with its declaration and count its operators.

    Args:
        path: the graph.
        spec: the declaration.
        domains: whose operators may be there beside the standard ones.

    Raises:
        ExportError: the ONNX checker rejects the graph, an operator is of another domain, or an input or
            output differs from the declaration in name, order, dtype or shape.
    """
    try:
        onnx.checker.check_model(os.fspath(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"{path.name} is not valid ONNX: {error}") from error
    model = onnx.load(path, load_external_data=False)
    operators: Counter[str] = Counter()
    for node in _nodes(model.graph):
        if node.domain not in ("", "ai.onnx", *domains):
            raise ExportError(
                f"{path.name} has a non-standard operator: {node.domain}::{node.op_type} ({node.name})",
                "rewrite that part of the stage with standard operators",
            )
        operators[node.op_type] += 1
    for kind, declared, found in (
        ("input", spec.inputs, model.graph.input),
        ("output", spec.outputs, model.graph.output),
    ):
        have = [_describe(value) for value in found]
        want = [(tensor.name, tensor.dtype, spec.known(tensor)) for tensor in declared]
        if have != want:
            raise ExportError(
                f"the {kind}s of {path.name} differ from the declaration of stage {spec.name}\n"
                f"  declared {want}\n  found    {have}",
                "make forward() and declare() of the stage agree",
            )
    return dict(operators)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _describe(value: onnx.ValueInfoProto) -> tuple[str, str, tuple[int | str, ...]]:
    kind = value.type.tensor_type
    names: dict[int, str] = {number: name for name, number in _DTYPES.items()}
    shape = tuple(dim.dim_param or dim.dim_value for dim in kind.shape.dim)
    return value.name, names.get(kind.elem_type, str(kind.elem_type)), shape


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the exporters' warnings about their own internals. Real problems raise errors."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)

"""Half-precision graphs with float32 islands, from the same modules as the float32 graphs.

Weights are converted before tracing, and the arithmetic follows them. The graph therefore states the
precision of every operation, whatever engine runs it:

- convolutions and linear layers run in the dtype of their weight;
- normalisations and softmax compute in float32 and return the dtype of their input;
- values that the model itself raises to float32 (`reference.model.precision.at_least_float32`) stay float32
  until the next layer with half weights, because mixed operands promote;
- modules named in `StageWrapper.float32` keep float32 weights.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from odise_trt.errors import ExportError
from odise_trt.stage_spec import Tensor as Declared

#: Layers that run in the dtype of their weight.
_WEIGHTED = {F.linear, F.conv1d, F.conv2d, torch.conv1d, torch.conv2d}
#: Functions that square, sum or exponentiate their input. The largest half-precision number is 65,504.
_FLOAT32 = {
    F.layer_norm,
    torch.layer_norm,
    F.group_norm,
    torch.group_norm,
    F.softmax,
    torch.softmax,
    Tensor.softmax,
    F.normalize,
}
#: Functions that promote mixed operands in this mode, as elementwise functions always do.
_PROMOTED = {torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm, torch.einsum}
_NORMALISATIONS = (nn.LayerNorm, nn.GroupNorm)


class HalfPrecision(TorchFunctionMode):
    """Mode in which code computes by the rules in this module's docstring. Slow, for tracing only."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Apply the rule for `func`, if there is one."""
        kwargs = kwargs or {}
        if func in _WEIGHTED:
            args, kwargs = _as_weight(func, args, kwargs)
        elif func in _FLOAT32:
            given = args[0] if args else kwargs["input"]
            args, kwargs = _cast((args, kwargs), torch.float16, torch.float32)
            return func(*args, **kwargs).to(given.dtype)
        elif func in _PROMOTED and _mixed((args, kwargs)):
            args, kwargs = _cast((args, kwargs), torch.float16, torch.float32)
        elif func is F.scaled_dot_product_attention:
            return _attention(*args, **kwargs)
        return func(*args, **kwargs)


class HalfStage(nn.Module):
    """A half copy of a stage. It takes and returns the dtypes of the fp16 declaration.

    The copy shares no memory with the original. Weights that become half are not copied in float32 first.

    Raises:
        ExportError: a weight does not fit half precision.
    """

    def __init__(self, stage: nn.Module, outputs: Iterable[Declared], float32: Iterable[str] = ()) -> None:
        super().__init__()
        kept = _kept_float32(stage, tuple(float32))
        converted: dict[int, Any] = {}
        for name, value in [*stage.named_parameters(), *stage.named_buffers()]:
            narrowed = value.detach()
            if value.dtype == torch.float32 and id(value) not in kept:
                narrowed = narrowed.half()
                # What the stage does not use may be on PyTorch's device "meta", without numbers.
                if not value.is_meta and torch.isinf(narrowed).any() and not torch.isinf(value).any():
                    raise ExportError(
                        f"weight {name} has values beyond half precision (65504)",
                        f"keep its module float32: add it to {type(stage).__name__}.float32",
                    )
            is_parameter = isinstance(value, nn.Parameter)
            converted[id(value)] = nn.Parameter(narrowed, requires_grad=False) if is_parameter else narrowed
        # deepcopy reuses the objects in its memo, so it takes the converted weights.
        self.stage = copy.deepcopy(stage, converted)
        self.dtypes = [getattr(torch, output.dtype) for output in outputs]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the stage, and return its outputs in the declared dtypes."""
        results = self.stage(*inputs)
        results = results if isinstance(results, tuple) else (results,)
        return tuple(result.to(dtype) for result, dtype in zip(results, self.dtypes, strict=True))


def _kept_float32(stage: nn.Module, patterns: tuple[str, ...]) -> set[int]:
    kept: set[int] = set()
    matched: set[str] = set()
    for name, module in stage.named_modules():
        hits = {pattern for pattern in patterns if fnmatch(name, pattern)}
        matched |= hits
        if hits:
            kept |= {id(value) for value in [*module.parameters(), *module.buffers()]}
        elif isinstance(module, _NORMALISATIONS):
            kept |= {id(value) for value in module.parameters()}
    if missing := set(patterns) - matched:
        raise ExportError(
            f"{type(stage).__name__}.float32 names no module: {', '.join(sorted(missing))}",
            "name submodules as in named_modules(), with * for any text",
        )
    return kept


def _as_weight(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
    names = ("input", "weight", "bias")
    given = dict(zip(names, args, strict=False)) | kwargs
    weight = given["weight"]
    for name in ("input", "bias"):
        if isinstance(given.get(name), Tensor):
            given[name] = given[name].to(weight.dtype)
    return (given.pop("input"), weight, given.pop("bias", None), *args[3:]), {
        key: value for key, value in given.items() if key != "weight"
    }


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Compute attention with half products and float32 softmax.

    It is written as single operations, because the Attention operator leaves the precision of its softmax to
    the engine, and TensorRT for RTX builds it for some head sizes only. The scale is split between query and
    key, so that the product stays in range.
    """
    if enable_gqa or dropout_p:
        raise ExportError("attention with grouped heads or dropout is not exported", "evaluate with eval()")
    share = math.sqrt(scale if scale is not None else query.shape[-1] ** -0.5)
    logits = torch.matmul(query * share, (key * share).transpose(-2, -1)).float()
    if is_causal:
        length = query.shape[-2]
        attn_mask = torch.ones(length, key.shape[-2], dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None:
        blocked = attn_mask.dtype == torch.bool
        logits = logits + (torch.where(attn_mask, 0.0, -1e9) if blocked else attn_mask.float())
    return torch.matmul(torch.softmax(logits, -1).to(value.dtype), value)


def _mixed(values: Any) -> bool:
    found = {value.dtype for value in _tensors(values) if value.is_floating_point()}
    return len(found) > 1


def _tensors(values: Any) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, dict):
        values = values.values()
    elif not isinstance(values, list | tuple):
        return []
    return [tensor for value in values for tensor in _tensors(value)]


def _cast(values: Any, source: torch.dtype, target: torch.dtype) -> Any:
    if isinstance(values, Tensor):
        return values.to(target) if values.dtype == source else values
    if isinstance(values, list | tuple):
        return type(values)(_cast(value, source, target) for value in values)
    if isinstance(values, dict):
        return {key: _cast(value, source, target) for key, value in values.items()}
    return values

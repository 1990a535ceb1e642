"""Initialises the trainable part of ODISE as the official training does."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable

import torch
from torch import Tensor, nn

from reference.model import ODISE
from reference.model.deformable_attention import DeformableAttention
from reference.model.open_vocabulary import tokenize

#: Temperature of the cosine between masks and texts.
TEMPERATURE = 0.07

_Fill = Callable[[Tensor, torch.Generator], object]


def initialise(model: ODISE, seed: int) -> None:
    """Overwrite every trainable parameter. Load the frozen part before.

    The numbers of a parameter depend on `seed` and on its name alone. Sources: the constructors of the
    official model, of Mask2Former (convolutions of its pixel decoder, transformer weights, queries), of
    Deformable DETR (attention) and of detectron2 (`BottleneckBlock`, the feature projections).

    Args:
        model: with the weights of CLIP. The null embedding starts as CLIP's embedding of "".
        seed: any number.
    """
    directions = {
        id(module.sampling_offsets.bias): sampling_directions(module)
        for module in model.modules()
        if isinstance(module, DeformableAttention)
    }
    norms = {
        id(parameter): float(name == "weight")
        for module in model.modules()
        if isinstance(module, nn.GroupNorm | nn.LayerNorm)
        for name, parameter in module.named_parameters(recurse=False)
    }
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for name, parameter in parameters.items():
            # On the CPU: a generator of another device draws other numbers.
            drawn = torch.empty(parameter.shape, dtype=parameter.dtype)
            if id(parameter) in norms:
                drawn.fill_(norms[id(parameter)])
            elif id(parameter) in directions:
                drawn.copy_(directions[id(parameter)])
            elif name.endswith("null_embed"):
                drawn.copy_(_empty_text(model))
            else:
                _fill(name, drawn, parameters, _generator(seed, name))
            parameter.copy_(drawn)
        model.criterion.reset()


def sampling_directions(attention: DeformableAttention) -> Tensor:
    """Return the bias of the sampling offsets. Every head has its own direction, point i at i + 1 pixels.

    Directions are evenly spread over the circle, and scaled to the edge of the unit square.

    Returns:
        (2 * heads * levels * points,), x before y.
    """
    heads, levels, points = attention.num_heads, attention.num_levels, attention.num_points
    angle = torch.arange(heads) * (2 * math.pi / heads)
    direction = torch.stack([angle.cos(), angle.sin()], dim=-1)
    direction = direction / direction.abs().amax(-1, keepdim=True)
    distance = torch.arange(1, points + 1)[:, None]
    return (direction[:, None, None] * distance).expand(heads, levels, points, 2).flatten()


def _constant(value: float) -> _Fill:
    return lambda tensor, _: tensor.fill_(value)


def _xavier(tensor: Tensor, generator: torch.Generator) -> None:
    nn.init.xavier_uniform_(tensor, generator=generator)


def _normal(tensor: Tensor, generator: torch.Generator) -> None:
    tensor.normal_(generator=generator)


def _position(tensor: Tensor, generator: torch.Generator) -> None:
    nn.init.trunc_normal_(tensor, std=0.02, generator=generator)


def _caffe2_xavier(tensor: Tensor, generator: torch.Generator) -> None:
    # The name in detectron2 and Mask2Former: a uniform distribution scaled by the fan-in only.
    nn.init.kaiming_uniform_(tensor, a=1, generator=generator)


def _caffe2_msra(tensor: Tensor, generator: torch.Generator) -> None:
    nn.init.kaiming_normal_(tensor, mode="fan_out", nonlinearity="relu", generator=generator)


def _diffusion_step(tensor: Tensor, generator: torch.Generator) -> None:
    # All steps are equally likely, as in `reference.model.ablations.time_steps.LearnableStep`.
    tensor.copy_(torch.rand(tensor.shape, generator=generator).logit(eps=1e-3))


_TRANSFORMERS = r"(pixel_decoder\.transformer|predictor\.transformer_\w+)\..*"

#: By name; the first match applies. Other parameters are linear layers, initialised as in PyTorch.
_RULES: tuple[tuple[re.Pattern[str], _Fill], ...] = tuple(
    (re.compile(pattern), fill)
    for pattern, fill in (
        (r"\.alpha_cond(_time_embed)?$", _constant(0.0)),
        (r"\.logit_scale$", _constant(math.log(1 / TEMPERATURE))),
        (r"\.diffusion\.step\.position$", _diffusion_step),
        (r"\.positional_embedding$", _position),
        (r"\.(query_feat|query_embed|level_embed)(\.weight)?$", _normal),
        (r"\.(sampling_offsets|attention_weights)\.", _constant(0.0)),
        (r"\.(value_proj|output_proj|out_proj)\.bias$", _constant(0.0)),
        (r"\.in_proj_bias$", _constant(0.0)),
        (_TRANSFORMERS + r"(\.weight|in_proj_weight)$", _xavier),
        (r"\.pixel_decoder\.input_proj\..*weight$", _xavier),
        (r"\.pixel_decoder\.(adapter_1|layer_1|mask_features)\.weight$", _caffe2_xavier),
        (r"\.pixel_decoder\.(input_proj\..*|mask_features\.)bias$", _constant(0.0)),
        (r"\.feature_projections\..*weight$", _caffe2_msra),
    )
)


def _fill(name: str, drawn: Tensor, parameters: dict[str, nn.Parameter], generator: torch.Generator) -> None:
    for pattern, fill in _RULES:
        if pattern.search(name):
            fill(drawn, generator)
            return
    weight = parameters[f"{name.rpartition('.')[0]}.weight"]
    reach = weight.shape[1] ** -0.5
    drawn.uniform_(-reach, reach, generator=generator)


def _empty_text(model: ODISE) -> Tensor:
    tokens = tokenize([""], model.preset.clip.context_length)
    return model.clip.embed_text(tokens.to(model.clip.positional_embedding.device))


def _generator(seed: int, name: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)

"""CLIP ViT-L/14-336 in the layouts of OpenAI, open_clip and transformers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from odise_trt.errors import WeightsError
from reference.convert.expected import Expected, Shape
from reference.convert.sources.source import Lazy, Source, record, require_names, require_shapes
from reference.download.reporter import Reporter
from reference.foreign import ForeignFile
from reference.weights.official_names import CLIP

_PREFIX = f"{CLIP}."
#: Sizes that OpenAI's archive holds as tensors, and positions that transformers writes: no weights.
_NO_WEIGHTS = re.compile(
    r"input_resolution|context_length|vocab_size|(text|vision)_model\.embeddings\.position_ids"
)
_HINT = (
    "give OpenAI's ViT-L-14-336px.pt, open_clip_model.safetensors, or transformers'"
    " clip-vit-large-patch14-336"
)

#: transformers' names of what stands once. The projections are transposed there.
_ONCE = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.proj": "visual_projection.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "text_projection": "text_projection.weight",
    "logit_scale": "logit_scale",
}
_TRANSPOSED = {"visual.proj", "text_projection"}
#: Modules: theirs is spelt so.
_MODULES = {
    "visual.ln_pre": "vision_model.pre_layrnorm",
    "visual.ln_post": "vision_model.post_layernorm",
    "ln_final": "text_model.final_layer_norm",
}
_LAYERS = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
#: The 291 tensors that OpenAI's archive holds in half precision.
_HALF = re.compile(
    r"\.(conv1|attn\.in_proj|attn\.out_proj|mlp\.c_fc|mlp\.c_proj)[._](weight|bias)$|[._]proj(ection)?$"
)
_BLOCK = re.compile(
    r"(?P<tower>visual\.)?transformer\.resblocks\.(?P<layer>\d+)\.(?P<module>.+?)[._](?P<kind>weight|bias)$"
)


def clip(file: ForeignFile, path: Path, expected: Expected, reporter: Reporter) -> Source:
    """Read the 446 tensors of CLIP.

    Raises:
        WeightsError: the file is another one, or another CLIP.
    """
    content = _content(file, path)
    shapes = {name.removeprefix(_PREFIX): shape for name, shape in expected.shapes("clip").items()}
    if any(name.startswith("vision_model.") for name in content):
        makers, used = _from_transformers(content, path, shapes)
    else:
        makers = {name: partial(content.__getitem__, name) for name in shapes if name in content}
        used = set(makers)
    surplus = {name for name in content if name not in used and not _NO_WEIGHTS.fullmatch(name)}
    require_names(path, shapes.keys() - makers.keys(), surplus, _HINT)
    tensors = Lazy({name: partial(_scalar, maker, shapes[name]) for name, maker in makers.items()})
    _require_size(path, tensors, expected)
    require_shapes(path, tensors, shapes, _HINT)
    official = Lazy({_PREFIX + name: partial(tensors.__getitem__, name) for name in tensors})
    return Source(path, official, (record(path, reporter),))


def is_openai(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the weights of all layers are numbers of half precision, as those that OpenAI published are.

    Other trainings of the same sizes have been published in single precision, and fail this. Embeddings and
    norms are in single precision in OpenAI's file too.
    """
    return all(
        torch.equal(tensor.half().to(tensor.dtype), tensor)
        for tensor in map(tensors.__getitem__, filter(_HALF.search, tensors))
    )


def _content(file: ForeignFile, path: Path) -> Mapping[str, Tensor]:
    content: Any = file.content
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise WeightsError(f"{path} holds no names", _HINT)
    # Every tensor of a safetensors file would be read for this.
    if file.kind != "safetensors" and not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{path} is no CLIP", _HINT)
    if any(name.startswith(("trunk.", "blocks.")) for name in content):
        raise WeightsError(f"{path} is timm's image tower alone", _HINT)
    return content


def _require_size(path: Path, tensors: Mapping[str, Tensor], expected: Expected) -> None:
    have = tuple(tensors["visual.positional_embedding"].shape)
    preset = expected.preset.clip
    patches = (preset.image_size // preset.patch_size) ** 2 + 1
    if len(have) == 2 and have[0] != patches and have[1] == preset.vision_width:
        side = round((have[0] - 1) ** 0.5) * preset.patch_size
        raise WeightsError(f"{path} is a CLIP for images of {side}, not {preset.image_size} pixels", _HINT)


def _from_transformers(
    content: Mapping[str, Tensor], path: Path, shapes: Mapping[str, Shape]
) -> tuple[dict[str, Callable[[], Tensor]], set[str]]:
    makers: dict[str, Callable[[], Tensor]] = {}
    used: set[str] = set()
    missing = []
    for name in shapes:
        theirs = _in_transformers(name)
        if absent := [one for one in theirs if one not in content]:
            missing += absent
            continue
        used |= set(theirs)
        makers[name] = partial(_joined, content, theirs, name in _TRANSPOSED)
    require_names(path, missing, (), _HINT)
    return makers, used


def _in_transformers(name: str) -> tuple[str, ...]:
    """Return transformers' names of a tensor: three for the joined projections of an attention."""
    if name in _ONCE:
        return (_ONCE[name],)
    if match := _BLOCK.fullmatch(name):
        tower = "vision_model" if match["tower"] else "text_model"
        layer = f"{tower}.encoder.layers.{match['layer']}"
        if match["module"] == "attn.in_proj":
            return tuple(f"{layer}.self_attn.{part}_proj.{match['kind']}" for part in "qkv")
        return (f"{layer}.{_LAYERS[match['module']]}.{match['kind']}",)
    module, _, kind = name.rpartition(".")
    return (f"{_MODULES[module]}.{kind}",)


def _joined(content: Mapping[str, Tensor], names: tuple[str, ...], transposed: bool) -> Tensor:
    if len(names) > 1:
        return torch.cat([content[name] for name in names])
    tensor = content[names[0]]
    # Without this nothing would fail: the projection of the texts is square.
    return tensor.T if transposed else tensor


def _scalar(maker: Callable[[], Tensor], shape: Shape) -> Tensor:
    """Return a tensor. Some files hold a single number as (1,)."""
    tensor = maker()
    return tensor.reshape(()) if shape == () and tuple(tensor.shape) == (1,) else tensor

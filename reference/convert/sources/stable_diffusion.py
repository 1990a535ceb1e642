"""Stable Diffusion 1.x as one file: a Lightning checkpoint, or the same names in safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from odise_trt.errors import WeightsError
from reference.convert.expected import Expected
from reference.convert.sources.architecture import require_version_1
from reference.convert.sources.source import Source, record, require_names, require_shapes
from reference.download.reporter import Reporter
from reference.foreign import ForeignFile
from reference.weights.official_names import COND_STAGE, SCHEDULE, UNET

_PREFIX = f"{SCHEDULE}."
_TEXT = COND_STAGE.removeprefix(_PREFIX) + "."
_EMA = "model_ema."
#: Left over from training, or not used by ODISE: they are in some files and decide nothing.
_LEFTOVERS = {"model_ema.decay", "model_ema.num_updates", "logvar", "scale_factor"}
_HINT = "give Stable Diffusion v1.3 as sd-v1-3.ckpt, or as a folder of diffusers"


def stable_diffusion(file: ForeignFile, path: Path, expected: Expected, reporter: Reporter) -> Source:
    """Read UNet, autoencoder and text encoder: 686 + 248 + 196 tensors.

    A "full-ema" file holds the UNet twice. Its `model_ema.*` are what the EMA-only file, which ODISE uses,
    has under `model.*`. (The official code, given a full file, would run the other set.)

    Raises:
        WeightsError: the file is another one, is not version 1.x, or does not fit the preset exactly.
    """
    tensors = _tensors(file, path)
    shapes = expected.shapes("unet") | expected.shapes("vae") | expected.shapes("text")
    ema = {name for name in tensors if name.startswith(_EMA)} - _LEFTOVERS
    found = {_PREFIX + _with_text_model(name): value for name, value in tensors.items() if name not in ema}
    found = {name: value for name, value in found.items() if name.removeprefix(_PREFIX) not in _LEFTOVERS}
    require_version_1(path, {name: tuple(value.shape) for name, value in found.items()}, expected)
    notes = []
    if ema:
        notes.append(f"{path.name} is a full-ema file: the EMA weights of the UNet are taken")
        found |= _averaged(path, tensors, ema, expected)
    _require_constants(path, found, expected.constants)
    surplus = found.keys() - shapes.keys() - expected.constants.keys()
    require_names(path, shapes.keys() - found.keys(), surplus, _HINT)
    kept = {name: found[name] for name in shapes}
    require_shapes(path, kept, shapes, f"{expected.preset.name} is made of Stable Diffusion 1.x")
    return Source(path, kept, (record(path, reporter),), tuple(notes))


def _tensors(file: ForeignFile, path: Path) -> dict[str, Tensor]:
    content: Any = file.content
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise WeightsError(f"{path} is no checkpoint: it holds no names", _HINT)
    if any(name.startswith(_PREFIX) for name in content):
        raise WeightsError(f"{path} is a converted file already", "give it to --weights, or as --frozen")
    if "model" in content and not isinstance(content["model"], Tensor):
        raise WeightsError(f"{path} is no checkpoint of Stable Diffusion", _HINT)
    tensors = {}
    for name in content:
        value = content[name]
        if not isinstance(value, Tensor):
            raise WeightsError(f"{path} is no checkpoint of Stable Diffusion: {name} is no tensor", _HINT)
        tensors[name] = value
    return tensors


def _with_text_model(name: str) -> str:
    """Give a name of the text encoder the `text_model.` that some merged files lack."""
    outer = _TEXT.removesuffix("text_model.")
    if name.startswith(outer) and not name.startswith((_TEXT, f"{outer}model.")):
        return _TEXT + name.removeprefix(outer)
    return name


def _averaged(
    path: Path, tensors: Mapping[str, Tensor], ema: set[str], expected: Expected
) -> dict[str, Tensor]:
    # LDM's LitEma registers buffers, whose names may have no dots.
    prefix = UNET.removesuffix("diffusion_model")
    names = {name: _EMA + name.removeprefix(prefix).replace(".", "") for name in expected.parts["unet"]}
    hint = "the EMA weights are damaged or of another model: give the EMA-only file"
    require_names(path, set(names.values()) - ema, ema - set(names.values()), hint)
    return {name: tensors[short] for name, short in names.items()}


def _require_constants(path: Path, found: Mapping[str, Tensor], constants: Mapping[str, Tensor]) -> None:
    """Raise WeightsError if a constant in the file is not that of Stable Diffusion 1.x. It may be absent."""
    for name, expected in constants.items():
        value = found.get(name)
        if value is None:
            continue
        # Half precision rounds by up to 2^-11, and flushes what is below 6e-8.
        same = value.shape == expected.shape and torch.allclose(
            value.double(), expected.double(), rtol=1e-3, atol=1e-7
        )
        if not same:
            short = name.removeprefix(_PREFIX)
            raise WeightsError(f"{path}: {short} is not the constant of Stable Diffusion 1.x", _HINT)

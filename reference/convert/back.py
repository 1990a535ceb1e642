"""From a converted file back to what others read: a folder of diffusers, or a checkpoint like the release."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from odise_trt.errors import OutputError, WeightsError
from odise_trt.files.writing import put_in_place, unfinished, unfinished_folder, writing
from reference.convert.expected import OURS, Expected, Part, Shape
from reference.download.reporter import SILENT, Reporter
from reference.model.diffusion import build_cond_stage, build_unet, build_vae
from reference.preset import Preset, find_preset
from reference.weights.safetensors_file import WeightsFile
from reference.weights.stream import Entry, write_streamed

_ELSEWHERE = "make room, or choose another --output"
_TEXT_MODEL = "text_model."
_FILES: dict[Part, str] = {
    "unet": "unet/diffusion_pytorch_model.safetensors",
    "vae": "vae/diffusion_pytorch_model.safetensors",
    "text": "text_encoder/model.safetensors",
}


def to_release(preset: Preset | str, weights: Path, output: Path) -> int:
    """Write the trained part as `{"model": ...}` of a `.pth` file, which the official code loads.

    Returns:
        The number of tensors.

    Raises:
        PresetError: there is no such preset.
        WeightsError: the file cannot be read, or lacks the trained part.
        OutputError: it cannot be written.
    """
    expected = Expected.of(find_preset(preset))
    with (
        _open(weights, expected, ("odise",)) as tensors,
        unfinished(output, lambda _: _ELSEWHERE) as temporary,
    ):
        model = OrderedDict((name, tensors[name].clone()) for name in expected.parts["odise"])
        torch.save({"model": model}, temporary)
    return len(model)


def to_diffusers(
    preset: Preset | str, weights: Path, output: Path, reporter: Reporter = SILENT
) -> dict[str, int]:
    """Write UNet, autoencoder and text encoder as diffusers and transformers save them, with their config.

    The folder has no tokenizer, scheduler or pipeline: `UNet2DConditionModel.from_pretrained(folder,
    subfolder="unet")` and the like read it.

    Returns:
        Number of tensors per part.

    Raises:
        PresetError: there is no such preset.
        WeightsError: the file cannot be read, or lacks the frozen part.
        OutputError: the folder exists, or cannot be written.
    """
    expected = Expected.of(find_preset(preset))
    if output.exists():
        raise OutputError(f"{output} is there already", "give a new folder")
    counts = {}
    with (
        _open(weights, expected, tuple(_FILES)) as tensors,
        writing(output, lambda _: _ELSEWHERE),
        unfinished_folder(output.parent) as folder,
    ):
        for part, file in _FILES.items():
            entries, names = _entries(part, expected, tensors)
            (folder / file).parent.mkdir(parents=True)
            size = sum(entry.size for entry in entries)
            with reporter.counting(f"writing {file}", size) as advance:
                read = partial(_shaped, tensors, names)
                write_streamed(folder / file, entries, read, {"format": "pt"}, written=advance)
            counts[str(part)] = len(entries)
        for file, config in _configs(expected.preset).items():
            (folder / file).write_text(config, encoding="utf-8")
        put_in_place(folder, output)
    return counts


def _shaped(tensors: Mapping[str, Tensor], names: Mapping[str, tuple[str, Shape]], name: str) -> Tensor:
    """Return a tensor by its name in a folder of diffusers."""
    official, shape = names[name]
    return tensors[official].reshape(shape)


@contextmanager
def _open(path: Path, expected: Expected, parts: tuple[Part, ...]) -> Iterator[Mapping[str, Tensor]]:
    with WeightsFile(path) as tensors:
        for part in parts:
            for name, wanted in expected.parts[part].items():
                if name not in tensors:
                    raise WeightsError(f"{path} lacks {name}", "give a file that odise-trt convert wrote")
                if tuple(tensors[name].shape) != wanted.shape:
                    raise WeightsError(
                        f"{path}: {name} has shape {tuple(tensors[name].shape)}, not {wanted.shape}",
                        "give the preset that the file was converted for",
                    )
        yield tensors


def _entries(
    part: Part, expected: Expected, tensors: Mapping[str, Tensor]
) -> tuple[list[Entry], dict[str, tuple[str, Shape]]]:
    entries, names = [], {}
    for official, wanted in expected.parts[part].items():
        name = wanted.ours.removeprefix(OURS[part])
        shape = wanted.shape
        if part == "text":
            name = _TEXT_MODEL + name
        if part == "vae" and ".attentions." in name and shape[2:] == (1, 1):
            shape = shape[:2]  # a linear layer in diffusers
        names[name] = (official, shape)
        entries.append(Entry(name, tensors[official].dtype, shape))
    return entries, names


def _configs(preset: Preset) -> dict[str, str]:
    """Return the config files from which diffusers and transformers build the modules."""
    assert preset.cond_stage is not None
    # Any: diffusers does not annotate what saves its configuration.
    with torch.device("meta"):
        unet: Any = build_unet(preset.unet)
        vae: Any = build_vae(preset.vae)
        text: Any = build_cond_stage(preset.cond_stage)
    return {
        "unet/config.json": unet.to_json_string(),
        "vae/config.json": vae.to_json_string(),
        "text_encoder/config.json": text.config.to_json_string(),
    }

"""Stable Diffusion 1.x as a folder of diffusers: `unet/`, `vae/` and `text_encoder/`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from odise_trt.errors import WeightsError
from reference.convert.expected import OURS, Expected, Part, Shape
from reference.convert.sources.architecture import require_version_1
from reference.convert.sources.source import FileRecord, Lazy, Source, record, require_names, require_shapes
from reference.download.reporter import Reporter
from reference.foreign import ForeignFile, open_weights

#: Folder and name of the file without its suffix, per part.
_PLACES: dict[Part, tuple[str, tuple[str, ...]]] = {
    "unet": ("unet", ("diffusion_pytorch_model",)),
    "vae": ("vae", ("diffusion_pytorch_model",)),
    "text": ("text_encoder", ("model", "pytorch_model")),
}
_SUFFIXES = (".safetensors", ".bin")
#: Names in folders that diffusers before 0.15 wrote, in the attention of the autoencoder.
_OLD_ATTENTION = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
_POSITIONS = "embeddings.position_ids"
_TEXT_MODEL = "text_model."


def is_folder_of_diffusers(path: Path) -> bool:
    """Whether a path is such a folder, as far as its subfolders say."""
    return all((path / folder).is_dir() for folder, _ in _PLACES.values())


def diffusers_folder(path: Path, expected: Expected, reporter: Reporter, stack: ExitStack) -> Source:
    """Read UNet, autoencoder and text encoder: 686 + 248 + 196 tensors.

    Args:
        stack: holds the files open.

    Raises:
        WeightsError: a file is missing, or the folder does not fit the preset exactly.
    """
    if not is_folder_of_diffusers(path):
        raise WeightsError(
            f"{path} is no folder of diffusers: it has no {', '.join(f for f, _ in _PLACES.values())}",
            "give the folder with model_index.json in it, or sd-v1-3.ckpt",
        )
    makers: dict[str, Callable[[], Tensor]] = {}
    files: list[FileRecord] = []
    for part in _PLACES:
        place = _file(path, part)
        content = _tensors(stack.enter_context(open_weights(place)), place)
        makers |= _makers(content, place, part, expected)
        files.append(record(place, reporter))
    tensors = Lazy(makers)
    shapes = {name: shape for part in _PLACES for name, shape in expected.shapes(part).items()}
    require_version_1(path, {name: tuple(tensors[name].shape) for name in shapes}, expected)
    require_shapes(path, tensors, shapes, f"{expected.preset.name} is made of Stable Diffusion 1.x")
    return Source(path, tensors, tuple(files))


def _file(path: Path, part: Part) -> Path:
    folder, stems = _PLACES[part]
    for suffix in _SUFFIXES:
        for stem in stems:
            if (place := path / folder / f"{stem}{suffix}").is_file():
                return place
    others = sorted(p.name for p in (path / folder).iterdir() if p.name.endswith((*_SUFFIXES, ".index.json")))
    names = " or ".join(f"{stem}{suffix}" for suffix in _SUFFIXES for stem in stems)
    if any(".fp16." in name for name in others):
        why = "fp16 variants are rounded, and give other outputs: download the files without a variant"
    elif any("non_ema" in name for name in others):
        why = "the non_ema variant is not what ODISE uses: download the files without a variant"
    elif any(name.endswith(".index.json") for name in others):
        why = "the weights are in several files: save them as one"
    else:
        why = "download the folder again"
    there = f"; there are {', '.join(others)}" if others else ""
    raise WeightsError(f"{path / folder} has no {names}{there}", why)


def _tensors(file: ForeignFile, place: Path) -> Mapping[str, Tensor]:
    content: Any = file.content
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise WeightsError(f"{place} holds no names", "download the folder again")
    return content


def _makers(
    content: Mapping[str, Tensor], place: Path, part: Part, expected: Expected
) -> dict[str, Callable[[], Tensor]]:
    """Find every tensor of a part under the names that folders have had."""
    makers: dict[str, Callable[[], Tensor]] = {}
    missing, used = [], set()
    for official, wanted in expected.parts[part].items():
        here = wanted.ours.removeprefix(OURS[part])
        name = next((name for name in _spellings(here, part) if name in content), None)
        if name is None:
            missing.append(here)
            continue
        used.add(name)
        makers[official] = partial(_shaped, content, name, wanted.shape)
    unexpected = {name for name in content if name not in used and not name.endswith(_POSITIONS)}
    require_names(place, missing, unexpected, "give a folder of Stable Diffusion 1.x")
    return makers


def _spellings(name: str, part: Part) -> list[str]:
    """Return the names a tensor may have in a folder, the present one first."""
    if part == "text":
        # transformers has written its text encoder with and without this prefix.
        return [_TEXT_MODEL + name, name]
    if part == "vae":
        for now, before in _OLD_ATTENTION.items():
            if ".attentions." in name and now in name:
                return [name, name.replace(now, before)]
    return [name]


def _shaped(content: Mapping[str, Tensor], name: str, shape: Shape) -> Tensor:
    """Return a tensor. Linear layers of the autoencoder are 1x1 convolutions in the official files."""
    tensor = content[name]
    if tensor.ndim == 2 and shape == (*tensor.shape, 1, 1):
        return tensor.reshape(shape)
    return tensor

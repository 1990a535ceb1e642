"""The golden weights as the files that people have: every official layout."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from reference.convert.convert import Inputs
from tests.golden_case import GOLDENS, load_golden_model
from tests.reference.foreign.official_files import (
    write_bin,
    write_lightning,
    write_release,
    write_safetensors,
    write_torchscript,
)

Tensors = dict[str, Tensor]
LDM = "backbone.feature_extractor.ldm_extractor."
#: What nothing but a hash could tell. The golden CLIP has numbers of half precision, as OpenAI's.
ACCEPTED = ("sd-unverified",)


@cache
def _npz(name: str) -> Tensors:
    with np.load(GOLDENS / f"{name}_small.npz", allow_pickle=False) as file:
        return {
            key: torch.from_numpy(
                file[key].astype(np.float32) if file[key].dtype == np.float16 else file[key]
            )
            for key in file.files
        }


def trained(kind: str) -> Tensors:
    """The release: 227 tensors with labels, 228 with captions."""
    return _npz(kind)


def stable_diffusion() -> Tensors:
    """The names of a Stable Diffusion checkpoint."""
    inner = f"{LDM}ldm.ldm."
    return {n.removeprefix(inner): t for n, t in _npz("ldm").items() if n.startswith(inner)}


def computed() -> Tensors:
    """What is in no file: the noise and the empty caption, as recorded from the official code."""
    names = (f"{LDM}shared_noise", f"{LDM}ldm.uncond_inputs")
    return {name: _npz("ldm")[name] for name in names}


def clip() -> Tensors:
    """OpenAI's names, in the types of OpenAI's archive: layers are in half precision."""
    names = {name.removeprefix("clip."): tensor for name, tensor in _npz("clip").items()}
    layers = re.compile(r"(conv1|in_proj|out_proj|c_fc|c_proj)[._](weight|bias)$|(^|[._])proj(ection)?$")
    return {name: tensor.half() if layers.search(name) else tensor for name, tensor in names.items()}


def write_odise(folder: Path, kind: str = "label") -> Path:
    return write_release(folder / f"odise_{kind}.pth", trained(kind))


def write_sd(folder: Path) -> Path:
    return write_lightning(folder / "sd-v1-3.ckpt", stable_diffusion())


def write_clip(folder: Path) -> Path:
    sizes = {name: torch.tensor(7) for name in ("input_resolution", "context_length", "vocab_size")}
    return write_torchscript(folder / "ViT-L-14-336px.pt", clip(), sizes)


def inputs(folder: Path, kind: str = "label") -> Inputs:
    """The three files as they are published."""
    return Inputs(write_odise(folder, kind), write_sd(folder), write_clip(folder))


def write_diffusers(
    folder: Path, *, old: bool = False, pickled: bool = False, prefixed: bool = True, half: bool = False
) -> Path:
    """A folder of diffusers.

    Args:
        old: with the attention of the autoencoder as diffusers named it first, and with position_ids.
        pickled: `.bin` files.
        prefixed: names of the text encoder begin with text_model.
    """
    diffusion = load_golden_model("label").backbone.diffusion
    assert diffusion.cond_stage is not None
    parts: dict[str, Tensors] = {
        "unet/diffusion_pytorch_model": diffusion.unet.state_dict(),
        "vae/diffusion_pytorch_model": diffusion.vae.state_dict(),
        "text_encoder/model": diffusion.cond_stage.state_dict(),
    }
    if prefixed:
        name = "text_encoder/model"
        parts[name] = {f"text_model.{key}": tensor for key, tensor in parts[name].items()}
    if old:
        names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
        pattern = re.compile(r"(?<=mid_block\.attentions\.0\.)(to_q|to_k|to_v|to_out\.0)(?=\.)")
        vae = parts["vae/diffusion_pytorch_model"]
        parts["vae/diffusion_pytorch_model"] = {
            pattern.sub(lambda match: names[match[0]], key): tensor for key, tensor in vae.items()
        }
        parts["text_encoder/model"]["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    for name, tensors in parts.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        kept = {key: t.half() if half and t.is_floating_point() else t for key, t in tensors.items()}
        if pickled:
            place = place.with_name("pytorch_model" if place.name == "model" else place.name)
            write_bin(place.with_suffix(".bin"), kept)
        else:
            save_file({key: t.contiguous() for key, t in kept.items()}, place.with_suffix(".safetensors"))
    return folder


def in_transformers() -> Tensors:
    """The golden CLIP under transformers' names: q, k and v apart, projections transposed."""
    renamed: list[tuple[str, str]] = [
        (r"^visual\.class_embedding$", "vision_model.embeddings.class_embedding"),
        (r"^visual\.conv1", "vision_model.embeddings.patch_embedding"),
        (r"^visual\.positional_embedding$", "vision_model.embeddings.position_embedding.weight"),
        (r"^visual\.ln_pre", "vision_model.pre_layrnorm"),
        (r"^visual\.ln_post", "vision_model.post_layernorm"),
        (r"^visual\.transformer\.resblocks", "vision_model.encoder.layers"),
        (r"^transformer\.resblocks", "text_model.encoder.layers"),
        (r"^token_embedding", "text_model.embeddings.token_embedding"),
        (r"^positional_embedding$", "text_model.embeddings.position_embedding.weight"),
        (r"^ln_final", "text_model.final_layer_norm"),
        (r"\.ln_(\d)\.", r".layer_norm\1."),
        (r"\.mlp\.c_fc\.", ".mlp.fc1."),
        (r"\.mlp\.c_proj\.", ".mlp.fc2."),
        (r"\.attn\.out_proj\.", ".self_attn.out_proj."),
    ]
    found: Tensors = {}
    for official, half in clip().items():
        name, tensor = official, half.float()
        if name in ("visual.proj", "text_projection"):
            theirs = "visual_projection" if name == "visual.proj" else name
            found[f"{theirs}.weight"] = tensor.T.contiguous()
            continue
        for pattern, text in renamed:
            name = re.sub(pattern, text, name)
        if "attn.in_proj_" in name:
            layer, kind = name.split(".attn.in_proj_")
            for part, values in zip("qkv", tensor.chunk(3), strict=True):
                found[f"{layer}.self_attn.{part}_proj.{kind}"] = values.contiguous()
        else:
            found[name] = tensor
    found["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    found["vision_model.embeddings.position_ids"] = torch.arange(37)[None]
    return found


#: Every layout of Stable Diffusion that is read.
STABLE_DIFFUSION: dict[str, Callable[[Path], Path]] = {
    "checkpoint": write_sd,
    "without callbacks": lambda f: write_lightning(f / "x.ckpt", stable_diffusion(), callbacks=False),
    "safetensors": lambda f: write_safetensors(f / "x.safetensors", stable_diffusion()),
    "without schedule and positions": lambda f: write_lightning(
        f / "x.ckpt",
        {
            n: t
            for n, t in stable_diffusion().items()
            if n.startswith(("model.", "first_stage", "cond_stage")) and "position_ids" not in n
        },
    ),
    "merged, without text_model": lambda f: write_safetensors(
        f / "x.safetensors", {n.replace("text_model.", ""): t for n, t in stable_diffusion().items()}
    ),
    "with leftovers": lambda f: write_lightning(
        f / "x.ckpt",
        stable_diffusion()
        | {
            "model_ema.decay": torch.tensor(0.9999),
            "model_ema.num_updates": torch.tensor(440000, dtype=torch.int32),
            "logvar": torch.zeros(1000),
        },
    ),
    "diffusers": lambda f: write_diffusers(f / "folder"),
    "diffusers, as first written": lambda f: write_diffusers(f / "folder", old=True, pickled=True),
    "diffusers, without text_model": lambda f: write_diffusers(f / "folder", prefixed=False),
}
#: Every layout of CLIP that is read.
CLIP: dict[str, Callable[[Path], Path]] = {
    "OpenAI": write_clip,
    "open_clip": lambda f: write_safetensors(
        f / "open_clip_model.safetensors", {n: t.float() for n, t in clip().items()}
    ),
    "open_clip, pickled": lambda f: write_bin(f / "open_clip_pytorch_model.bin", clip()),
    "transformers": lambda f: write_bin(f / "pytorch_model.bin", in_transformers()),
    "transformers, safetensors": lambda f: write_safetensors(f / "model.safetensors", in_transformers()),
}

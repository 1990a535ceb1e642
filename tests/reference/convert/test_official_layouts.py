"""Every layout of every file gives the same tensors, and whatever else is given is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from torch import Tensor

from odise_trt.errors import WeightsError
from reference.checkpoint import official_state_dict
from reference.convert.expected import Expected
from reference.convert.sources import Source, open_clip, open_odise, open_stable_diffusion
from reference.download.reporter import Reporter
from reference.preset import GOLDEN_LABEL
from tests.golden_case import load_golden_model
from tests.reference.convert.golden_files import (
    CLIP,
    STABLE_DIFFUSION,
    clip,
    stable_diffusion,
    trained,
    write_clip,
    write_diffusers,
    write_odise,
)
from tests.reference.foreign.official_files import (
    write_bin,
    write_lightning,
    write_release,
    write_safetensors,
)

UNET = "model.diffusion_model."
Open = Callable[..., Source]


@pytest.fixture
def opened() -> Iterator[Callable[[Open, Path], Source]]:
    """Opens a source of the golden label model, and closes it after the test."""
    with ExitStack() as stack:
        yield lambda open_source, path: open_source(path, Expected.of(GOLDEN_LABEL), Reporter(), stack)


def assert_golden(tensors: Mapping[str, Tensor], *parts: str) -> None:
    golden, expected = official_state_dict(load_golden_model("label")), Expected.of(GOLDEN_LABEL)
    names = [name for part in parts for name in expected.parts[part]]
    assert set(tensors) == set(names)
    assert [name for name in names if not torch.equal(tensors[name].float(), golden[name])] == []


@pytest.mark.parametrize("layout", STABLE_DIFFUSION)
def test_every_layout_of_stable_diffusion_gives_the_same_tensors(layout, opened, tmp_path):
    source = opened(open_stable_diffusion, STABLE_DIFFUSION[layout](tmp_path))
    assert_golden(source.tensors, "unet", "vae", "text")
    assert source.notes == ()


@pytest.mark.parametrize("layout", CLIP)
def test_every_layout_of_clip_gives_the_same_tensors(layout, opened, tmp_path):
    # A forgotten transpose would be seen.
    assert not torch.equal(clip()["text_projection"], clip()["text_projection"].T)
    assert_golden(opened(open_clip, CLIP[layout](tmp_path)).tensors, "clip")


@pytest.mark.parametrize("form", ["trainer", "bare", "wrapped"])
def test_every_form_of_a_checkpoint_gives_the_same_tensors(form, opened, tmp_path):
    path, tensors = tmp_path / "odise.pth", trained("label")
    if form == "trainer":
        write_release(path, tensors, trainer=True)
    elif form == "bare":
        write_bin(path, tensors)
    else:
        write_release(path, {f"module.{name}": tensor for name, tensor in tensors.items()})
    assert_golden(opened(open_odise, path).tensors, "odise")


def test_of_a_file_with_both_sets_the_averaged_unet_is_taken(opened, tmp_path):
    averaged = {n: t for n, t in stable_diffusion().items() if n.startswith(UNET)}
    others = {n: t + 1 if n in averaged else t for n, t in stable_diffusion().items()}
    path = write_lightning(tmp_path / "sd-v1-3-full-ema.ckpt", others, ema=averaged)
    source = opened(open_stable_diffusion, path)
    assert_golden(source.tensors, "unet", "vae", "text")
    assert source.notes == (
        "sd-v1-3-full-ema.ckpt is a full-ema file: the EMA weights of the UNet are taken",
    )


def test_files_are_recorded_with_their_hashes(opened, tmp_path):
    source = opened(open_stable_diffusion, write_diffusers(tmp_path / "folder"))
    assert [file.name for file in source.files] == [
        "diffusion_pytorch_model.safetensors",
        "diffusion_pytorch_model.safetensors",
        "model.safetensors",
    ]
    assert len(source.hashes) == 3


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({f"{UNET}input_blocks.0.0.weight": (32, 9, 3, 3)}, "an inpainting model: its UNet reads 9 channels"),
        ({f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (32, 1024)}, "Diffusion 2.x"),
        ({"cond_stage_model.model.ln_final.weight": (8,)}, "Diffusion 2.x: its text encoder is OpenCLIP's"),
        ({"conditioner.embedders.0.x": (8,)}, "Stable Diffusion XL"),
        ({"lora.weight": (8,)}, r"not known: 1 \(.*lora.weight"),
        ({"betas": (1000,)}, "betas is not the constant of Stable Diffusion 1.x"),
        ({"model_ema.diffusion_modelout0weight": (8,)}, "does not hold what is expected"),
        ({f"{UNET}out.2.bias": (5,)}, r"out.2.bias has shape \(5,\), not \(4,\)"),
        ({f"{UNET}out.2.bias": None}, r"missing: 1 \(.*out.2.bias\)"),
        ({f"{UNET}out.2.bias": torch.zeros(4, dtype=torch.int64)}, "out.2.bias holds int64"),
        ({"backbone.feature_extractor.ldm_extractor.ldm.ldm.betas": (8,)}, "is a converted file already"),
    ],
)
def test_another_stable_diffusion_is_named(change, match, opened, tmp_path):
    tensors = dict(stable_diffusion())
    for name, value in change.items():
        if value is None:
            del tensors[name]
        else:
            tensors[name] = torch.zeros(value) if isinstance(value, tuple) else value
    with pytest.raises(WeightsError, match=match):
        opened(open_stable_diffusion, write_lightning(tmp_path / "x.ckpt", tensors))


def test_variants_of_a_folder_are_explained(opened, tmp_path):
    folder = write_diffusers(tmp_path / "folder")
    unet = folder / "unet" / "diffusion_pytorch_model.safetensors"
    for variant, match in (("fp16", "fp16 variants are rounded"), ("non_ema", "is not what ODISE uses")):
        renamed = unet.rename(unet.with_name(f"diffusion_pytorch_model.{variant}.safetensors"))
        with pytest.raises(WeightsError, match=match):
            opened(open_stable_diffusion, folder)
        renamed.rename(unet)
    unet.rename(unet.with_name("diffusion_pytorch_model-00001-of-00002.safetensors"))
    unet.with_name("diffusion_pytorch_model.safetensors.index.json").touch()
    with pytest.raises(WeightsError, match="the weights are in several files"):
        opened(open_stable_diffusion, folder)
    with pytest.raises(WeightsError, match="is no folder of diffusers: it has no unet, vae, text_encoder"):
        opened(open_stable_diffusion, tmp_path)


def test_a_folder_that_lacks_a_tensor_names_it(opened, tmp_path):
    folder = write_diffusers(tmp_path / "folder", pickled=True)
    path = folder / "vae" / "diffusion_pytorch_model.bin"
    tensors = torch.load(path, weights_only=True)
    tensors["decoder.more"] = tensors.pop("quant_conv.bias")
    write_bin(path, tensors)
    with pytest.raises(
        WeightsError, match=r"missing: 1 \(quant_conv.bias\)\n  not known: 1 \(decoder.more\)"
    ):
        opened(open_stable_diffusion, folder)


def test_a_checkpoint_of_the_other_kind_is_named(opened, tmp_path):
    with pytest.raises(WeightsError, match="checkpoint of a caption model: convert odise-caption"):
        opened(open_odise, write_odise(tmp_path, "caption"))


def test_a_checkpoint_of_other_categories_is_named(opened, tmp_path):
    path = write_release(tmp_path / "x.pth", trained("label") | {"criterion.empty_weight": torch.ones(8)})
    with pytest.raises(WeightsError, match="trained on 7 categories, golden-label is for 4"):
        opened(open_odise, path)


def test_files_in_each_others_places_are_named(opened, tmp_path):
    odise, of_clip = write_odise(tmp_path), write_clip(tmp_path)
    with pytest.raises(WeightsError, match="give it with --sd or --clip"):
        opened(open_odise, of_clip)
    with pytest.raises(WeightsError, match="is no checkpoint of Stable Diffusion"):
        opened(open_stable_diffusion, odise)
    with pytest.raises(WeightsError, match="is no CLIP"):
        opened(open_clip, odise)


def test_a_clip_for_smaller_images_is_named(opened, tmp_path):
    tensors = {name: tensor.float() for name, tensor in clip().items()}
    tensors["visual.positional_embedding"] = torch.zeros(17, 128)
    with pytest.raises(WeightsError, match="a CLIP for images of 56, not 84 pixels"):
        opened(open_clip, write_safetensors(tmp_path / "x.safetensors", tensors))


def test_the_image_tower_alone_is_named(opened, tmp_path):
    path = write_safetensors(tmp_path / "model.safetensors", {"blocks.0.x": torch.zeros(1)})
    with pytest.raises(WeightsError, match="timm's image tower alone"):
        opened(open_clip, path)

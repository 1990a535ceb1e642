"""The way back: what is written is what others read, and converts to the same file again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from odise_trt.errors import OutputError, WeightsError
from reference.convert.back import to_diffusers, to_release
from reference.convert.convert import Converted, Inputs, convert
from tests.golden_case import load_golden_model
from tests.reference.convert.golden_files import ACCEPTED, inputs, trained


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return inputs(tmp_path_factory.mktemp("official"))


@pytest.fixture(scope="module")
def made(files: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Converted:
    path = tmp_path_factory.mktemp("converted") / "golden.safetensors"
    return convert("golden-label", files, path, accepted=ACCEPTED)


@pytest.fixture(scope="module")
def folder(made: Converted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("back") / "folder"
    assert to_diffusers("golden-label", made.path, place) == {"unet": 686, "vae": 248, "text": 36}
    return place


def test_a_folder_converts_to_the_same_file(
    files: Inputs, made: Converted, folder: Path, tmp_path: Path
) -> None:
    again = convert(
        "golden-label",
        replace(files, stable_diffusion=folder),
        tmp_path / "again.safetensors",
        accepted=ACCEPTED,
    )
    assert again.content_sha256 == made.content_sha256


def test_diffusers_and_transformers_read_the_folder(folder: Path) -> None:
    # Not above: a torchvision that cannot load is worked around by the reference first.
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

    ours = load_golden_model("label").backbone.diffusion
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    vae = AutoencoderKL.from_pretrained(folder, subfolder="vae")
    for theirs, mine in ((unet, ours.unet), (vae, ours.vae)):
        expected = mine.state_dict()
        state = theirs.state_dict()
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[name], expected[name]) for name in expected)
    text = CLIPTextModel.from_pretrained(folder / "text_encoder")
    tokens = torch.tensor([[49406, 320, 1125, 49407]])
    with torch.no_grad():
        found, expected = text(tokens).last_hidden_state, ours.cond_stage(tokens).last_hidden_state
    assert torch.allclose(found, expected, atol=1e-6)


def test_a_release_holds_what_the_official_code_loads(files: Inputs, made: Converted, tmp_path: Path) -> None:
    path = tmp_path / "odise.pth"
    assert to_release("golden-label", made.path, path) == 227
    content = torch.load(path, weights_only=True)
    assert list(content) == ["model"]
    expected = trained("label")
    assert content["model"].keys() == expected.keys()
    assert all(torch.equal(content["model"][name], expected[name]) for name in expected)
    again = convert(
        "golden-label", replace(files, odise=path), tmp_path / "again.safetensors", accepted=ACCEPTED
    )
    assert again.content_sha256 == made.content_sha256


def test_a_file_without_the_wanted_part_is_refused(files: Inputs, tmp_path: Path) -> None:
    frozen = convert(
        "golden-label", replace(files, odise=None), tmp_path / "frozen.safetensors", accepted=ACCEPTED
    )
    with pytest.raises(WeightsError, match=r"lacks backbone\.feature_extractor.alpha_cond"):
        to_release("golden-label", frozen.path, tmp_path / "odise.pth")
    with pytest.raises(WeightsError, match=r"lacks|has shape"):
        to_diffusers("odise-label", frozen.path, tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frozen.safetensors"]


def test_a_folder_that_is_there_stays(made: Converted, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is there already"):
        to_diffusers("golden-label", made.path, tmp_path)

"""Versions are told by hashes and fingerprints, and others than the official one want a word."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from odise_trt.errors import WeightsError
from reference.convert import versions
from reference.convert.expected import Expected
from reference.convert.sources import Source, open_stable_diffusion
from reference.convert.sources.source import FileRecord
from reference.convert.versions import (
    clip_version,
    fingerprint,
    release_version,
    require_accepted,
    stable_diffusion_version,
)
from reference.download.reporter import Reporter
from reference.preset import GOLDEN_LABEL
from tests.reference.convert.golden_files import clip, stable_diffusion, write_diffusers, write_sd
from tests.reference.foreign.official_files import write_lightning

SD_1_3 = "2cff93af4dcc07c3e03110205988ff98481e86539c51a8098d4f2236e41f7f2f"
SD_1_5 = "6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa"
OUT = "model.diffusion_model.out.2.bias"


def source(sha256: str, tensors=None) -> Source:
    return Source(Path("file"), tensors or {}, (FileRecord("file", 1, sha256),))


def test_the_fingerprint_is_that_of_the_unet_in_any_layout(tmp_path):
    changed = stable_diffusion() | {OUT: stable_diffusion()[OUT] + 1e-3}
    decoder = {n: t + 1 if n.startswith("first_stage_model.") else t for n, t in stable_diffusion().items()}
    files = {
        "checkpoint": write_sd(tmp_path),
        "folder": write_diffusers(tmp_path / "folder"),
        "another decoder": write_lightning(tmp_path / "decoder.ckpt", decoder),
        "another UNet": write_lightning(tmp_path / "unet.ckpt", changed),
    }
    expected, found = Expected.of(GOLDEN_LABEL), {}
    with ExitStack() as stack:
        for name, path in files.items():
            opened = open_stable_diffusion(path, expected, Reporter(), stack)
            found[name] = fingerprint(opened, expected, Reporter())
    assert found["checkpoint"] == found["folder"] == found["another decoder"] != found["another UNet"]


def test_known_files_are_told_by_their_hash():
    official, other = (stable_diffusion_version(source(sha), "") for sha in (SD_1_3, SD_1_5))
    assert (official.name, official.official, official.sure) == ("sd-1.3", True, True)
    assert (other.name, other.official, other.sure) == ("sd-1.5", False, True)
    require_accepted(official, source(SD_1_3), ())
    with pytest.raises(
        WeightsError, match=r"is Stable Diffusion 1\.5; ODISE was trained on 1\.3(.|\n)*sd-1\.5"
    ):
        require_accepted(other, source(SD_1_5), ("sd-unverified",))
    require_accepted(other, source(SD_1_5), ("sd-1.5",))


def test_other_files_are_told_by_their_fingerprint(monkeypatch):
    monkeypatch.setitem(versions._FINGERPRINTS, "f" * 64, "1.3")
    assert stable_diffusion_version(source("0" * 64), "f" * 64).official
    verdict = stable_diffusion_version(source("0" * 64), "e" * 64)
    assert verdict.name == "sd-unverified"
    with pytest.raises(WeightsError, match=r"nothing tells which version .fingerprint of its UNet: e{64}"):
        require_accepted(verdict, source("0" * 64), ("sd-1.5",), "e" * 64)
    require_accepted(verdict, source("0" * 64), ("sd-unverified",))


def test_clip_of_openai_is_told_by_its_hash_or_by_its_numbers():
    tensors = {name: tensor.float() for name, tensor in clip().items()}
    known = clip_version(source("3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02"), {})
    assert (known.official, known.sure) == (True, True)
    alike = clip_version(source("0" * 64), tensors)
    assert (alike.official, alike.sure) == (True, False)
    require_accepted(alike, source("0" * 64), ())


@pytest.mark.parametrize(
    "name",
    [
        *("visual.proj", "text_projection", "visual.conv1.weight"),
        *("transformer.resblocks.1.attn.in_proj_weight", "visual.transformer.resblocks.0.mlp.c_fc.bias"),
    ],
)
def test_another_training_of_clip_is_refused(name):
    tensors = {name: tensor.float() for name, tensor in clip().items()}
    tensors[name] = tensors[name] + 1e-5
    verdict = clip_version(source("0" * 64), tensors)
    with pytest.raises(WeightsError, match=r"is not OpenAI's CLIP(.|\n)*--allow-version clip-unverified"):
        require_accepted(verdict, source("0" * 64), ())
    require_accepted(verdict, source("0" * 64), ("clip-unverified",))


def test_embeddings_of_clip_may_be_in_single_precision():
    tensors = {name: tensor.float() for name, tensor in clip().items()}
    tensors["token_embedding.weight"] = torch.full((2, 2), 1 / 3)
    assert clip_version(source("0" * 64), tensors).official


def test_releases_are_told_by_the_beginning_of_their_hash():
    label = source("b67d2efc" + "0" * 56)
    assert release_version(label, "odise-label").official
    assert not release_version(label, "odise-caption").official
    assert release_version(source("0" * 64), "odise-label").name == "own training"

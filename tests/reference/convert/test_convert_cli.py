"""`odise-trt convert`: its options, what it prints, and what it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors import safe_open

from reference.convert.convert import Inputs
from tests.door import call, verb
from tests.reference.convert.golden_files import inputs

COMMAND = verb("reference.convert.cli:convert")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return inputs(tmp_path_factory.mktemp("official"))


@pytest.fixture(autouse=True)
def nothing_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file of a user's caches, and a folder of one's own."""
    for name in ("ODISE_CACHE", "HOME", "XDG_CACHE_HOME", "HF_HOME", "ODISE_MODEL_ZOO", "FVCORE_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def options(files: Inputs) -> list[object]:
    return ["--odise", files.odise, "--sd", files.stable_diffusion, "--clip", files.clip]


def test_three_files_become_one(files: Inputs) -> None:
    done = call(COMMAND, "golden-label", *options(files), "--allow-version", "sd-unverified")
    assert (done.status, done.stdout) == (0, "golden-label.safetensors\n")
    assert "1286 tensors, 0.12 GB" in done.stderr
    assert "sd-v1-3.ckpt is sd-unverified: its hash is not a known one" in done.stderr
    assert "fingerprint of the UNet: " in done.stderr
    with safe_open("golden-label.safetensors", framework="pt") as file:
        assert len(list(file.keys())) == 1286


def test_the_frozen_part_alone_and_the_way_back(files: Inputs) -> None:
    accept = ["--allow-version", "sd-unverified"]
    done = call(COMMAND, "golden-label", "--frozen", *options(files)[2:], *accept)
    assert (done.status, done.stdout) == (0, "golden-label-frozen.safetensors\n")
    weights = ["--weights", "golden-label-frozen.safetensors"]
    done = call(COMMAND, "golden-label", "--to", "diffusers", *weights)
    assert (done.status, done.stdout) == (0, "golden-label-diffusers\n")
    assert "unet: 686 tensors, vae: 248 tensors, text: 36 tensors" in done.stderr
    assert Path("golden-label-diffusers/unet/config.json").is_file()
    done = call(COMMAND, "golden-label", "--to", "release", *weights)
    assert (done.status, done.stderr.splitlines()[0]) == (
        1,
        "WeightsError: golden-label-frozen.safetensors lacks backbone.feature_extractor.alpha_cond",
    )
    assert not Path("golden-label.pth").exists()


def test_a_file_that_is_there_stays(files: Inputs) -> None:
    Path("golden-label.safetensors").write_text("mine")
    done = call(COMMAND, "golden-label", *options(files))
    assert (done.status, done.stderr.splitlines()[0]) == (
        1,
        "OutputError: golden-label.safetensors is there already",
    )
    assert Path("golden-label.safetensors").read_text() == "mine"
    done = call(COMMAND, "golden-label", *options(files), "--output", ".")
    assert "OutputError: . is a folder" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["golden-label"], "--odise, --sd, --clip are missing"),
        (["golden-label", "--frozen", "--odise", "x"], "--frozen writes no tensor of --odise"),
        (["golden-label", "--weights", "x"], "--weights is for the way back"),
        (["golden-label", "--to", "release", "--precision", "stored"], "--precision does nothing for --to"),
        (["golden-label", "--to", "diffusers", "--overwrite"], "replaces a file, not a folder"),
        (["golden-label", "--to", "release"], "--to release needs the converted file"),
        (["golden-label", "--to", "diffusers", "--weights", "x", "--sd", "y"], "reads one converted file"),
        (["golden-labels", "--odise", "x", "--sd", "y", "--clip", "z"], "golden-labels"),
    ],
)
def test_options_that_do_not_fit_are_explained(arguments: list[str], message: str) -> None:
    done = call(COMMAND, *arguments)
    assert done.status == 1
    assert message in done.stderr
    assert list(Path.cwd().iterdir()) == []


def test_a_version_that_is_not_accepted_leaves_nothing(files: Inputs) -> None:
    done = call(COMMAND, "golden-label", *options(files))
    assert done.status == 1
    assert "--allow-version sd-unverified" in done.stderr
    assert list(Path.cwd().iterdir()) == []

"""Files of every official layout become exactly the golden model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from odise_trt.errors import OutputError, WeightsError
from reference.checkpoint import describe_weights, load_weights, official_state_dict
from reference.convert.convert import Converted, Inputs, convert
from reference.convert.expected import Expected
from reference.preset import PRESETS
from tests.check_golden import check
from tests.golden_case import GOLDENS, GoldenCase, load_golden_model
from tests.reference.convert.golden_files import (
    ACCEPTED,
    computed,
    inputs,
    trained,
    write_odise,
)
from tests.reference.foreign.official_files import (
    write_safetensors,
)

UNET = "model.diffusion_model."


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return inputs(tmp_path_factory.mktemp("official"))


@pytest.fixture(scope="module")
def made(files: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """The label model, converted once."""
    path = tmp_path_factory.mktemp("converted") / "golden.safetensors"
    return convert("golden-label", files, path, accepted=ACCEPTED)


def golden(kind: str) -> dict[str, torch.Tensor]:
    return official_state_dict(load_golden_model(kind), copies=False)


def read(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def converted(
    files: Inputs, output: Path, preset: str = "golden-label", **options
) -> dict[str, torch.Tensor]:
    convert(preset, files, output, accepted=options.pop("accepted", ACCEPTED), **options)
    return read(output)


def assert_golden(tensors: dict[str, torch.Tensor], kind: str = "label") -> None:
    expected = golden(kind)
    assert tensors.keys() == expected.keys()
    close = computed().keys()
    assert [
        n for n in expected if n not in close and not torch.equal(tensors[n].float(), expected[n].float())
    ] == []
    for name in close:
        # Computed on another machine, by another version of PyTorch.
        torch.testing.assert_close(tensors[name], expected[name], rtol=2e-5, atol=2e-6)


def test_the_published_files_become_the_golden_model(made: Converted) -> None:
    assert_golden(read(made.path))


def test_the_published_files_become_the_golden_caption_model(files: Inputs, tmp_path: Path) -> None:
    files = replace(files, odise=write_odise(tmp_path, "caption"))
    assert_golden(converted(files, tmp_path / "out.safetensors", "golden-caption"), "caption")


def test_a_converted_file_gives_a_recorded_case_of_the_official_code(made: Converted) -> None:
    model = load_weights("golden-label", str(made.path))
    rows = check(GoldenCase(GOLDENS / "golden_label_512.npz"), model, "pruned")
    assert [row for row in rows if row.verdict == "OFF"] == []


def test_a_frozen_file_has_all_but_the_trained_part(files: Inputs, tmp_path: Path) -> None:
    tensors = converted(replace(files, odise=None), tmp_path / "frozen.safetensors")
    assert tensors.keys() == golden("label").keys() - trained("label").keys()
    model = load_weights("golden-label", write_trained(tmp_path), frozen=str(tmp_path / "frozen.safetensors"))
    assert torch.equal(model.clip.positional_embedding, load_golden_model("label").clip.positional_embedding)


def write_trained(folder: Path) -> str:
    return str(write_safetensors(folder / "trained.safetensors", trained("label")))


def test_the_header_says_what_the_file_is_made_of(made: Converted) -> None:
    with safe_open(made.path, framework="pt") as file:
        header = file.metadata()
    sources = json.loads(header["sources"])
    assert {role: source["version"] for role, source in sources.items()} == made.versions
    assert [file["name"] for file in sources["stable_diffusion"]["files"]] == ["sd-v1-3.ckpt"]
    assert all(source["licence"] for source in sources.values())
    assert json.loads(header["train_labels"])[0] == ["person", "people"]
    assert (header["sd_version"], header["preset"]) == ("unverified", "golden-label")
    assert header["unet_fingerprint"] == made.unet_fingerprint
    # So that nothing hashes 6 GB again.
    assert describe_weights("golden-label", str(made.path))["sha256"] == made.content_sha256


def test_stored_precision_keeps_the_half_of_clip_without_loss(files: Inputs, tmp_path: Path) -> None:
    tensors = converted(files, tmp_path / "out.safetensors", precision="stored")
    prefix = "backbone.feature_extractor.clip.clip."
    assert tensors[f"{prefix}visual.conv1.weight"].dtype == torch.float16
    assert tensors[f"{prefix}token_embedding.weight"].dtype == torch.float32
    assert_golden(tensors)


@pytest.mark.parametrize(("preset", "trained_count"), [("odise-label", 399), ("odise-caption", 400)])
def test_the_published_models_have_as_many_tensors_as_counted_in_the_files(
    preset: str, trained_count: int
) -> None:
    expected = Expected.of(PRESETS[preset])
    counts = {part: len(tensors) for part, tensors in expected.parts.items()}
    assert counts == {
        "odise": trained_count,
        "unet": 686,
        "vae": 248,
        "text": 196,
        "clip": 446,
        "computed": 2,
    }
    assert sum(counts.values()) + len(expected.constants) == 1591 + trained_count
    assert expected.size == {"odise-label": 6_089_337_268, "odise-caption": 6_089_335_724}[preset]


def refused(files: Inputs, output: Path, match: str, **options) -> None:
    with pytest.raises(WeightsError, match=match):
        convert("golden-label", files, output, **({"accepted": ACCEPTED} | options))
    assert not output.exists()


def test_a_version_that_nothing_tells_wants_a_word(files: Inputs, tmp_path: Path) -> None:
    refused(files, tmp_path / "o", r"fingerprint of its UNet: [0-9a-f]{64}", accepted=())
    refused(files, tmp_path / "o", "--allow-version sd-unverified", accepted=("sd-1.5",))


def test_a_full_disk_is_told_before_anything_is_written(
    files: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=1000))
    with pytest.raises(OutputError, match=r"of free space, .* are to come"):
        convert("golden-label", files, tmp_path / "o", accepted=ACCEPTED)


def test_a_file_that_is_converted_is_never_replaced(files: Inputs) -> None:
    assert files.odise is not None
    before = files.odise.read_bytes()
    with pytest.raises(OutputError, match="is one of the files to convert"):
        convert("golden-label", files, files.odise, accepted=ACCEPTED)
    assert files.odise.read_bytes() == before


def test_a_preset_that_is_made_of_other_things_is_refused(files: Inputs, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="'demo' is not made of Stable Diffusion and CLIP"):
        convert("demo", files, tmp_path / "o")

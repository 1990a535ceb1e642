"""Files that are no weights say what they are; weights of every precision load."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from odise_trt.errors import WeightsError
from reference.checkpoint import load_official, load_weights, official_state_dict
from reference.model import ODISE
from reference.weights.diagnosis import misfit
from reference.weights.safetensors_file import WeightsFile
from tests.tiny_preset import TINY

MODEL = load_weights(TINY, "random:1")
OFFICIAL = official_state_dict(MODEL, copies=False)


def saved(tensors: dict[str, Tensor]) -> bytes:
    from safetensors.torch import save

    return save(tensors)


def torch_file(**options: bool) -> bytes:
    file = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, file, **options)
    return file.getvalue()


def zipped(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, b"content")
    return file.getvalue()


def arrays() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.zeros(3))
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.safetensors"))
    return file.getvalue()


GOOD = saved({"a": torch.zeros(1000)})
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 112000000\n"

FILES: dict[str, tuple[bytes, str, str]] = {
    "nothing": (b"", "is empty", "download it again"),
    "PyTorch": (torch_file(), r"is a PyTorch file \(torch.save\)", "odise-trt convert"),
    "PyTorch cut off": (torch_file()[:700], "cut off or damaged", "download it again"),
    "PyTorch of old": (
        torch_file(_use_new_zipfile_serialization=False),
        "is a Python pickle",
        "save it anew",
    ),
    "pickle": (pickle.dumps({"a": 1}), "is a Python pickle", "save it anew"),
    "Git LFS": (LFS, "is a pointer of Git LFS", "git lfs pull"),
    "git-annex": (b"/annex/objects/MD5E-s5--8b1a.safetensors\n", "pointer of git-annex", "git annex get"),
    "web page": (b"<!DOCTYPE html>\n<html>Sign in</html>", "is a web page", "login"),
    "web page with a space": (b"\n  <HTML><body>", "is a web page", "login"),
    "error of a bucket": (b'<?xml version="1.0"?><Error/>', "is a web page", "download the file itself"),
    "index of parts": (
        b'{"metadata": {}, "weight_map": {}}',
        "is the index of weights in several",
        "one safetensors",
    ),
    "JSON": (b'{"error": "not found"}', "is a JSON file", "safetensors"),
    "gzip": (gzip.compress(GOOD), "is a gzip archive", "unpack it"),
    "tar": (tarred(), "is a tar archive", "unpack it"),
    "zip": (zipped("weights.safetensors"), "is a zip archive", "unpack it"),
    "NumPy": (arrays(), "is a NumPy archive", "safetensors"),
    "GGUF": (b"GGUF\x03\0\0\0", "is a GGUF file", "safetensors"),
    "text": (b"weights go here, one day", "cannot be read as safetensors", "safetensors"),
    "cut off": (GOOD[:-1], rf"is cut off: it has {len(GOOD) - 1} of {len(GOOD)} bytes", "download it again"),
    "header cut off": (GOOD[:30], "is cut off: 30 bytes, its header alone", "download it again"),
    "longer": (GOOD + b"more", "is a damaged safetensors file", "download it again"),
    "header damaged": (GOOD[:12] + b"\xff" + GOOD[13:], "with a damaged header", "download it again"),
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_is_no_weights_says_what_it_is_and_the_way_out(what, tmp_path):
    content, message, way = FILES[what]
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights("demo", str(path))
    assert way in caught.value.hint


@pytest.mark.parametrize("length", range(0, len(GOOD), 97))
def test_wherever_a_download_was_cut_off_the_file_says_so(length, tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(GOOD[:length])
    with (
        pytest.raises(WeightsError, match=r"is cut off|is empty|cannot be read as safetensors"),
        WeightsFile(path),
    ):
        pass


def test_a_folder_names_the_file_in_it(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(GOOD)
    with pytest.raises(WeightsError, match="is a folder") as caught:
        load_weights("demo", str(tmp_path))
    assert caught.value.hint == f"give the file in it: {tmp_path / 'model.safetensors'}"


def written(tmp_path: Path, change: Callable[[str, Tensor], Tensor]) -> Path:
    path = tmp_path / "weights.safetensors"
    save_file({name: change(name, tensor).contiguous() for name, tensor in OFFICIAL.items()}, path)
    return path


@pytest.mark.parametrize(
    ("dtype", "precision"),
    [(torch.float16, 2**-10), (torch.bfloat16, 2**-7), (torch.float32, 0.0), (torch.float64, 0.0)],
)
@pytest.mark.parametrize("integers", [False, True])
def test_weights_load_from_every_precision(dtype, precision, integers, tmp_path):
    def change(_: str, tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if integers or tensor.is_floating_point() else tensor

    path = written(tmp_path, change)
    model = ODISE(TINY)
    with WeightsFile(path) as tensors:
        load_official(model, tensors)
    for one, other in zip(model.parameters(), MODEL.parameters(), strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=precision, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_another_noise_schedule_is_told_in_every_precision(dtype, tmp_path):
    def change(name: str, tensor: Tensor) -> Tensor:
        tensor = torch.linspace(1e-4, 2e-2, 1000) if name.endswith(".betas") else tensor
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    with (
        WeightsFile(written(tmp_path, change)) as tensors,
        pytest.raises(WeightsError, match="betas is not the constant of Stable Diffusion"),
    ):
        load_official(ODISE(TINY), tensors)


@pytest.mark.parametrize(
    ("dtype", "message"),
    [(torch.int8, "is int8, not floating point"), (torch.float8_e4m3fn, "is float8_e4m3fn, of too few bits")],
)
def test_quantised_weights_are_told_as_that(dtype, message, tmp_path):
    def change(_: str, tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    with (
        WeightsFile(written(tmp_path, change)) as tensors,
        pytest.raises(WeightsError, match=message) as caught,
    ):
        load_official(ODISE(TINY), tensors)
    assert "half or single precision" in caught.value.hint


def test_weights_for_other_categories_that_do_not_name_them_say_so():
    weights = dict(OFFICIAL)
    weights["criterion.empty_weight"] = torch.ones(20)
    with pytest.raises(WeightsError, match="trained on 19 categories and the preset is for 2") as caught:
        load_official(ODISE(TINY), weights)
    assert "train_labels" in caught.value.hint


TRAINED = {"category_head.null_embed", "criterion.empty_weight"}


@pytest.mark.parametrize(
    ("have", "missing", "unexpected", "way"),
    [
        (TRAINED, {"clip_head.clip.clip.logit_scale"}, set(), "has the trained part only"),
        ({"clip_head.clip.clip.logit_scale"}, TRAINED, set(), "train from it with --frozen"),
        ({"module." + name for name in TRAINED}, TRAINED, {"module.x"}, "remove the beginning 'module.'"),
        ({"model.diffusion_model.x", "y"}, TRAINED, {"y"}, "this is a Stable Diffusion model"),
        ({"word_head.x"}, TRAINED, {"word_head.x"}, "choose the other --preset"),
        ({"layer.weight"}, TRAINED, {"layer.weight"}, "give a complete file for this preset"),
    ],
)
def test_names_that_do_not_fit_are_told_by_what_they_seem_to_be(have, missing, unexpected, way):
    assert way in misfit(have, missing, unexpected, TRAINED)


def test_a_tool_that_dropped_the_header_leaves_json_readable(tmp_path):
    path = tmp_path / "weights.safetensors"
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": "no"}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(WeightsError, match="damaged header"), WeightsFile(path):
        pass

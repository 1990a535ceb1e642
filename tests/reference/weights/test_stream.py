"""Safetensors files written tensor by tensor."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from odise_trt.errors import OutputError
from reference.weights.header import content_sha256
from reference.weights.stream import CONTENT, SAMPLE, Entry, write_streamed

TENSORS = {
    "half": torch.randn(3, 5).half(),
    "position_ids": torch.arange(7)[None],
    "scalar": torch.tensor(2.5),
    "single": torch.randn(4, 3).T,
    "brain": torch.randn(9).bfloat16(),
    "double": torch.randn(2, 2, dtype=torch.float64),
}
ENTRIES = [Entry(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in TENSORS.items()]


def write(path: Path, tensors=TENSORS, entries=ENTRIES) -> str:
    return write_streamed(path, entries, tensors.__getitem__, {"preset": "x"})


def test_the_library_reads_what_was_written(tmp_path):
    digest = write(tmp_path / "x.safetensors")
    found = load_file(tmp_path / "x.safetensors")
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    with safe_open(tmp_path / "x.safetensors", framework="pt") as file:
        header = file.metadata()
    assert header.keys() == {"preset", CONTENT, SAMPLE}
    assert (header["preset"], header[CONTENT]) == ("x", digest)
    assert content_sha256(tmp_path / "x.safetensors") == digest


def test_the_hash_is_that_of_names_types_shapes_and_numbers(tmp_path):
    first = write(tmp_path / "a.safetensors")
    assert write(tmp_path / "b.safetensors") == first
    digest, found = hashlib.sha256(), load_file(tmp_path / "a.safetensors")
    names = {8: ("position_ids", "double"), 4: ("scalar", "single"), 2: ("half", "brain")}
    types = {"position_ids": "I64", "double": "F64", "half": "F16", "brain": "BF16"}
    for name in (name for size in (8, 4, 2) for name in names[size]):
        shape = list(found[name].shape)
        digest.update(f"{name}\0{types.get(name, 'F32')}\0{shape}\0".encode())
        digest.update(found[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    assert digest.hexdigest() == first
    changed = TENSORS | {"scalar": torch.tensor(2.6)}
    assert write(tmp_path / "c.safetensors", changed) != first
    renamed = [Entry(f"{e.name}s", e.dtype, e.shape) for e in ENTRIES]
    tensors = {f"{name}s": tensor for name, tensor in TENSORS.items()}
    assert write(tmp_path / "d.safetensors", tensors, renamed) != first
    flat = TENSORS | {"single": TENSORS["single"].contiguous().reshape(4, 3)}
    reshaped = [Entry(e.name, e.dtype, (4, 3)) if e.name == "single" else e for e in ENTRIES]
    assert write(tmp_path / "e.safetensors", flat, reshaped) != first


def test_every_tensor_is_aligned_to_its_type(tmp_path):
    write(tmp_path / "x.safetensors")
    with (tmp_path / "x.safetensors").open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    assert length % 8 == 0
    for name, tensor in TENSORS.items():
        assert header[name]["data_offsets"][0] % tensor.dtype.itemsize == 0, name


def test_other_tensors_under_the_old_header_have_no_stated_hash(tmp_path):
    write(tmp_path / "x.safetensors")
    with safe_open(tmp_path / "x.safetensors", framework="pt") as file:
        header = file.metadata()
    trained = {name: tensor.contiguous() for name, tensor in TENSORS.items()}
    trained["half"] = trained["half"] + 1
    save_file(trained, tmp_path / "trained.safetensors", header)
    assert content_sha256(tmp_path / "trained.safetensors") is None


def test_tensors_are_converted_to_the_announced_type(tmp_path):
    entries = [Entry("half", torch.float32, (3, 5))]
    write(tmp_path / "x.safetensors", entries=entries)
    assert torch.equal(load_file(tmp_path / "x.safetensors")["half"], TENSORS["half"].float())


def test_an_error_in_the_middle_leaves_nothing(tmp_path):
    with pytest.raises(KeyError):
        write(tmp_path / "x.safetensors", {"position_ids": TENSORS["position_ids"]})
    with pytest.raises(ValueError, match="was announced"):
        write(tmp_path / "x.safetensors", entries=[Entry("half", torch.float16, (5, 3))])
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_none_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is not a folder"):
        write(tmp_path / "file" / "x.safetensors")


def test_a_header_that_states_no_hash_is_read_as_none(tmp_path):
    write_streamed(tmp_path / "x.safetensors", ENTRIES, TENSORS.__getitem__, {})
    content = (tmp_path / "x.safetensors").read_bytes().replace(CONTENT.encode(), b"content_sha25X")
    (tmp_path / "y.safetensors").write_bytes(content)
    assert content_sha256(tmp_path / "y.safetensors") is None
    assert content_sha256(tmp_path / "none.safetensors") is None

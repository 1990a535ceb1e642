"""Safetensors files written tensor by tensor."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from odise_trt.errors import OutputError
from reference.weights.header import content_sha256
from reference.weights.stream import CONTENT, Entry, content_hash, write_streamed

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
        assert file.metadata() == {"preset": "x", CONTENT: digest}
    assert content_sha256(tmp_path / "x.safetensors") == digest


def test_the_hash_is_that_of_names_types_shapes_and_numbers(tmp_path):
    first = write(tmp_path / "a.safetensors")
    assert write(tmp_path / "b.safetensors") == first
    ordered = sorted(ENTRIES, key=lambda entry: -entry.dtype.itemsize)
    assert content_hash(load_file(tmp_path / "a.safetensors"), ordered) == first
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
        assert int.from_bytes(file.read(8), "little") % 8 == 0
    ordered = sorted(ENTRIES, key=lambda entry: -entry.dtype.itemsize)
    assert [entry.dtype.itemsize for entry in ordered] == [8, 8, 4, 4, 2, 2]


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

"""A damaged file opens with tensors of the same shapes, or is refused with a typed error."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from odise_trt.errors import WeightsError
from reference.foreign import open_weights
from tests.attacks.assembling import GOOD, NUMBERS, archive, members
from tests.reference.foreign import official_files as official

_TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b.c": torch.ones(5).half(), "n": torch.tensor(7)}


def content(write, name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / name, _TENSORS)
        return (Path(folder) / name).read_bytes()


FILES = {
    "f.pth": content(official.write_bin, "f.pth"),
    "f.ckpt": content(official.write_lightning, "f.ckpt"),
    "f.pt": content(official.write_torchscript, "f.pt"),
    "f.safetensors": content(official.write_safetensors, "f.safetensors"),
}


def opens_or_is_refused(name: str, damaged: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(damaged)
        try:
            with open_weights(path) as file:
                found = file.content.get("state_dict", file.content) if file.kind == "torch" else file.content
                read = {key: found[key] for key in found if key in _TENSORS}
        except WeightsError:
            return
        assert all(tensor.shape == _TENSORS[key].shape for key, tensor in read.items())
        torch.save({key: tensor.clone() for key, tensor in read.items()}, io.BytesIO())


@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
def test_a_file_with_changed_bits_opens_or_is_refused(name, data):
    damaged = bytearray(FILES[name])
    places = st.integers(0, len(damaged) * 8 - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=8, unique=True)):
        damaged[place // 8] ^= 1 << place % 8
    opens_or_is_refused(name, bytes(damaged))


@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(GOOD) - 1), st.binary(max_size=3), st.integers(0, 3)),
        min_size=1,
        max_size=3,
    )
)
def test_a_pickle_with_other_steps_is_refused_or_stays_within_its_data(changes):
    pickle = GOOD
    for place, inserted, removed in changes:
        pickle = pickle[:place] + inserted + pickle[place + removed :]
    with tempfile.TemporaryDirectory() as folder:
        path = archive(Path(folder) / "f.pth", members(pickle))
        try:
            with open_weights(path) as file:
                content = file.content
        except WeightsError:
            return
    assert all(tensor.numel() <= NUMBERS for tensor in tensors(content))


def tensors(content: object) -> list[Tensor]:
    if isinstance(content, dict):
        return [tensor for value in content.values() for tensor in tensors(value)]
    return [content] if isinstance(content, Tensor) else []


@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
def test_a_file_that_is_cut_off_is_refused(name, data):
    length = data.draw(st.integers(0, len(FILES[name]) - 1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(FILES[name][:length])
        with pytest.raises(WeightsError), open_weights(path):
            pass

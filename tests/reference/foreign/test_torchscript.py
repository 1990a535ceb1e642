"""TorchScript archives give the tensors that `torch.jit.load` would give, without it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from odise_trt.errors import OutputError
from reference.foreign import open_weights, torchscript
from tests.full_disk import files_of_at_most
from tests.reference.foreign import official_files as official

TENSORS = {
    "visual.conv1.weight": torch.arange(24.0).reshape(2, 3, 2, 2).half(),
    "visual.proj": torch.arange(6.0).reshape(2, 3).half(),
    "visual.ln_pre.weight": torch.ones(2),
    "transformer.resblocks.0.attn.in_proj_weight": torch.ones(6, 2).half(),
    "transformer.resblocks.10.attn.in_proj_weight": torch.zeros(6, 2).half(),
    "logit_scale": torch.tensor(4.6),
}
BUFFERS = {
    "input_resolution": torch.tensor(336),
    "visual.context_length": torch.tensor(77),
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """TorchScript warns that it is old."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def as_jit_loads(path: Path) -> dict[str, Tensor]:
    return torch.jit.load(str(path)).state_dict()


def assert_read_as_jit_loads(path: Path, **options: Path) -> None:
    expected = as_jit_loads(path)
    with open_weights(path, **options) as file:
        assert file.kind == "torchscript"
        assert set(file.content) == set(expected)
        for name, tensor in expected.items():
            assert file.content[name].dtype == tensor.dtype
            assert torch.equal(file.content[name], tensor)
            assert not file.content[name].requires_grad


def test_names_and_values_are_those_of_jit_load(tmp_path):
    path = official.write_torchscript(tmp_path / "f.pt", TENSORS, BUFFERS)
    assert set(as_jit_loads(path)) == {*TENSORS, *BUFFERS}
    assert_read_as_jit_loads(path)


def test_a_scripted_module_with_lists_and_shared_tensors_opens(tmp_path):
    class Inner(nn.Module):
        def __init__(self, weight: nn.Parameter) -> None:
            super().__init__()
            self.weight = weight
            self.sizes = [1, 2]
            self.factors = [0.5]
            self.title = "inner"

        def forward(self, x: Tensor) -> Tensor:
            return x * self.weight * self.factors[0] + self.sizes[0]

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([1.0, 2.0]))
            self.a, self.b = Inner(self.weight), Inner(nn.Parameter(torch.tensor([3.0, 4.0])))
            self.register_buffer("none", None)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x))

    torch.jit.script(Outer()).save(str(tmp_path / "f.pt"))
    assert_read_as_jit_loads(tmp_path / "f.pt")


def test_extra_files_and_recorded_inputs_are_left_alone(tmp_path):
    module = torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2))
    module.save(str(tmp_path / "f.pt"), _extra_files={"note.txt": "x" * 1000})
    assert_read_as_jit_loads(tmp_path / "f.pt")


def test_the_copy_is_in_the_given_folder_and_gone_afterwards(tmp_path):
    path = official.write_torchscript(tmp_path / "f.pt", TENSORS, BUFFERS)
    work = tmp_path / "work"
    work.mkdir()
    assert_read_as_jit_loads(path, work=work)
    assert list(work.iterdir()) == []


@pytest.mark.parametrize("large", [2**30, 10])
def test_data_of_the_copy_are_aligned_as_PyTorch_aligns_them(large, tmp_path, monkeypatch):
    monkeypatch.setattr(torchscript, "_LARGE", large)
    path = official.write_torchscript(tmp_path / "f.pt", TENSORS, BUFFERS)
    assert_read_as_jit_loads(path)
    with open_weights(path) as file:
        assert {tensor.data_ptr() % 64 for tensor in file.content.values()} == {0}


def test_a_full_disk_is_an_error_of_the_work_folder(tmp_path):
    path = official.write_torchscript(tmp_path / "f.pt", {"a": torch.zeros(100_000)})
    work = tmp_path / "work"
    work.mkdir()
    with files_of_at_most(50_000), pytest.raises(OutputError, match=f"{work} cannot be written"):
        open_weights(path, work=work).__enter__()
    assert list(work.iterdir()) == []


def test_a_work_folder_that_is_a_file_is_an_error(tmp_path):
    path = official.write_torchscript(tmp_path / "f.pt", TENSORS)
    (tmp_path / "work").touch()
    with pytest.raises(OutputError, match="work"), open_weights(path, work=tmp_path / "work"):
        pass

"""Weight files of other programs open with the tensors that were written into them."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from odise_trt.errors import WeightsError
from reference.foreign import open_weights
from tests.attacks import assembling as by_hand
from tests.reference.foreign import official_files as official

TENSORS = {
    "a.weight": torch.arange(6.0).reshape(2, 3),
    "a.bias": torch.tensor([0.5, -2.0]).half(),
    "a.brain": torch.tensor([1.5]).bfloat16(),
    "count": torch.tensor(7),
    "mask": torch.tensor([True, False]),
    "empty": torch.zeros(0, 4),
    "exact": torch.tensor([1e-300], dtype=torch.float64),
}


def are_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return set(found) == set(expected) and all(
        found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)
        for name, tensor in expected.items()
    )


@pytest.mark.parametrize("trainer", [False, True])
def test_a_release_of_ODISE_opens(trainer, tmp_path):
    with open_weights(official.write_release(tmp_path / "f.pth", TENSORS, trainer)) as file:
        assert file.kind == "torch"
        assert are_equal(file.content["model"], TENSORS)
        assert file.content["model"]._metadata == {"": {"version": 1}}
        assert file.content["iteration"] == 367_999
        assert ("trainer" in file.content) == trainer


@pytest.mark.parametrize("callbacks", [False, True])
def test_a_checkpoint_of_Lightning_opens_without_Lightning(callbacks, tmp_path):
    path = official.write_lightning(tmp_path / "f.ckpt", TENSORS, callbacks)
    with open_weights(path) as file:
        assert are_equal(file.content["state_dict"], TENSORS)
        assert file.content["global_step"] == 440_000
        if callbacks:
            ((callback, state),) = file.content["callbacks"].items()
            assert callback.__module__.startswith("reference.foreign")
            assert state["monitor"] == "val/loss"


def test_a_checkpoint_with_averages_has_both_sets(tmp_path):
    model = {"model.diffusion_model.out.2.bias": torch.zeros(4)}
    ema = {name: tensor + 1 for name, tensor in model.items()}
    with open_weights(official.write_lightning(tmp_path / "f.ckpt", model, True, ema)) as file:
        state = file.content["state_dict"]
        assert torch.equal(state["model_ema.diffusion_modelout2bias"], torch.ones(4))
        assert state["model_ema.num_updates"].dtype == torch.int32
        assert set(state) == {
            *model,
            "model_ema.diffusion_modelout2bias",
            "model_ema.decay",
            "model_ema.num_updates",
        }


def test_a_bin_of_diffusers_opens(tmp_path):
    with open_weights(official.write_bin(tmp_path / "f.bin", TENSORS)) as file:
        assert are_equal(file.content, TENSORS)


def test_a_safetensors_file_opens_and_reads_tensors_on_demand(tmp_path):
    with open_weights(official.write_safetensors(tmp_path / "f.safetensors", TENSORS)) as file:
        assert file.kind == "safetensors"
        assert are_equal(dict(file.content), TENSORS)
        assert file.metadata == {"format": "pt"}
        assert len(file.content) == len(TENSORS)
        with pytest.raises(KeyError):
            file.content["b"]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: official.write_release(path / "f.pth", TENSORS),
        lambda path: official.write_lightning(path / "f.ckpt", TENSORS),
        lambda path: official.write_bin(path / "f.bin", TENSORS),
        lambda path: official.write_torchscript(path / "f.pt", TENSORS),
        lambda path: official.write_safetensors(path / "f.safetensors", TENSORS),
    ],
)
def test_shapes_and_dtypes_can_be_asked_for(write: Callable[[Path], Path], tmp_path):
    with open_weights(write(tmp_path)) as file:
        for name, tensor in TENSORS.items():
            assert file.shape(name) == tuple(tensor.shape)
            assert file.dtype(name) == tensor.dtype
        with pytest.raises(KeyError):
            file.shape("nothing")


def test_a_name_in_two_dictionaries_is_not_guessed(tmp_path):
    torch.save({"model": TENSORS, "average": TENSORS}, tmp_path / "f.pth")
    with open_weights(tmp_path / "f.pth") as file, pytest.raises(KeyError):
        file.shape("count")


def test_a_file_may_have_any_other_name_and_be_reached_by_a_link(tmp_path):
    path = official.write_safetensors(tmp_path / "2cff93af4dcc", TENSORS)
    (tmp_path / "sd-v1-3.safetensors").symlink_to(path)
    for name in (path, tmp_path / "sd-v1-3.safetensors"):
        with open_weights(str(name)) as file:
            assert file.kind == "safetensors"


def test_numbers_of_numpy_become_inert(tmp_path):
    torch.save({"best": np.float64(0.5), "model": TENSORS}, tmp_path / "f.pth")
    with open_weights(tmp_path / "f.pth") as file:
        assert type(file.content["best"]).__module__.startswith("reference.foreign")
        assert are_equal(file.content["model"], TENSORS)


def test_sets_bytes_and_shapes_open(tmp_path):
    content = {"set": {1, 2}, "bytes": b"ab\xff", "shape": torch.Size((2, 3)), "list": [1.5, None, (True,)]}
    torch.save(content, tmp_path / "f.pth")
    with open_weights(tmp_path / "f.pth") as file:
        assert file.content == content


def test_a_bare_tensor_opens(tmp_path):
    torch.save(TENSORS["a.weight"], tmp_path / "f.pth")
    with open_weights(tmp_path / "f.pth") as file:
        assert torch.equal(file.content, TENSORS["a.weight"])


def test_parameters_need_no_gradient(tmp_path):
    torch.save({"w": nn.Parameter(torch.ones(2)), "v": torch.ones(2, requires_grad=True)}, tmp_path / "f.pth")
    with open_weights(tmp_path / "f.pth") as file:
        assert not any(tensor.requires_grad for tensor in file.content.values())


def test_views_of_one_storage_open(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    views = {"whole": whole, "turned": whole.T, "part": whole[1:, 2], "again": whole}
    torch.save(views, tmp_path / "f.pth")
    with open_weights(tmp_path / "f.pth") as file:
        assert are_equal(file.content, views)
        storages = {tensor.untyped_storage().data_ptr() for tensor in file.content.values()}
        assert len(storages) == 1


def test_writing_to_a_tensor_leaves_the_file_as_it_was(tmp_path):
    path = official.write_bin(tmp_path / "f.bin", {"a": torch.zeros(5)})
    before = path.read_bytes()
    with open_weights(path) as file:
        file.content["a"].fill_(7)
    assert path.read_bytes() == before


def test_tensors_outlive_the_open_file(tmp_path):
    for path in (
        official.write_bin(tmp_path / "f.bin", TENSORS),
        official.write_torchscript(tmp_path / "f.pt", TENSORS),
        official.write_safetensors(tmp_path / "f.safetensors", TENSORS),
    ):
        with open_weights(path) as file:
            kept = dict(file.content)
        path.unlink()
        assert are_equal(kept, TENSORS)


@pytest.mark.parametrize("device", ["cuda:0", "mps", "meta"])
def test_tensors_of_other_devices_come_to_the_cpu(device, tmp_path):
    held = by_hand.storage("0", 3, device=device)
    pickle = by_hand.program(by_hand.dictionary(a=by_hand.tensor((3,), (1,), held=held)))
    data = torch.arange(3.0).numpy().tobytes()
    path = by_hand.archive(tmp_path / "f.pth", by_hand.members(pickle, **{"data/0": data}))
    with open_weights(path) as file:
        assert file.content["a"].device.type == "cpu"
        assert torch.equal(file.content["a"], torch.arange(3.0))


def test_four_gigabytes_are_mapped_and_not_read(tmp_path):
    path = tmp_path / "f.pth"
    with torch.serialization.skip_data():  # a file with a hole
        torch.save({"a": torch.empty(2**30), "b": torch.ones(2)}, path)
    assert path.stat().st_size > 2**32
    if path.stat().st_blocks * 512 > 2**20:
        pytest.skip("this file system has no holes")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open_weights(path) as file:
        assert file.shape("a") == (2**30,)
        assert file.content["a"][-1] == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.parametrize("version", ["2.9.1+cu128", "1.13.0", "2.5", "unknown"])
def test_an_old_PyTorch_is_refused(version, tmp_path, monkeypatch):
    path = official.write_bin(tmp_path / "f.bin", TENSORS)
    monkeypatch.setattr(torch, "__version__", version)
    with pytest.raises(WeightsError, match="CVE-2026-24747") as caught, open_weights(path):
        pass
    assert "2.10 or newer" in caught.value.hint


def test_an_old_PyTorch_reads_safetensors(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.9.1")
    with open_weights(official.write_safetensors(tmp_path / "f.safetensors", TENSORS)) as file:
        assert are_equal(dict(file.content), TENSORS)


def test_nothing_stays_allowed_in_PyTorch(tmp_path):
    before = torch.serialization.get_safe_globals()
    with open_weights(official.write_lightning(tmp_path / "f.ckpt", TENSORS)):
        assert torch.serialization.get_safe_globals() == before


def test_errors_of_the_caller_stay_as_they_are(tmp_path):
    path = official.write_bin(tmp_path / "f.bin", TENSORS)
    with pytest.raises(FileNotFoundError, match="mine"), open_weights(path):
        raise FileNotFoundError("mine")


def test_what_PyTorch_allows_and_we_do_not_is_named(tmp_path):
    torch.save(
        {"z": torch.ones(2, dtype=torch.complex64), "s": torch.eye(2).to_sparse()},
        tmp_path / "f.pth",
    )
    with pytest.raises(WeightsError) as caught, open_weights(tmp_path / "f.pth"):
        pass
    assert "torch.ComplexFloatStorage" in caught.value.message
    assert "torch._utils._rebuild_sparse_tensor" in caught.value.message


def test_an_expanded_tensor_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1).expand(1000)}, tmp_path / "f.pth")
    with pytest.raises(WeightsError, match="claims more than its storage"), open_weights(tmp_path / "f.pth"):
        pass

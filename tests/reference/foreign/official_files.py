"""Writes weight files in the forms in which the official ones are published, from any tensors."""

from __future__ import annotations

import sys
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

Tensors = Mapping[str, Tensor]


def write_release(path: Path, tensors: Tensors, trainer: bool = False) -> Path:
    """A checkpoint of ODISE: the tensors under "model", and with `trainer` the state of a training loop."""
    content: dict[str, Any] = {"model": _state_dict(tensors), "iteration": 367_999}
    if trainer:
        moments = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
        content["trainer"] = {
            "iteration": 367_999,
            "hooks": {"_LRScheduler": {"last_epoch": 368_000, "_last_lr": [1e-5]}},
            "optimizer": {"state": dict(enumerate(moments.values())), "param_groups": [{"lr": 1e-4}]},
            "grad_scaler": {"scale": 65536.0, "_growth_tracker": 7},
        }
    torch.save(content, path)
    return path


def write_lightning(path: Path, tensors: Tensors, callbacks: bool = True, ema: Tensors | None = None) -> Path:
    """A checkpoint of Lightning 1.4, as Stable Diffusion 1.x is published.

    Args:
        callbacks: its callbacks are keyed by their class, which torch.load refuses by itself.
        ema: averages of the tensors `model.*`, by the names of these. They are written as `model_ema.*`,
            without the dots, and with the two numbers of the averaging.
    """
    state = _state_dict(tensors)
    if ema is not None:
        for name, tensor in ema.items():
            state[f"model_ema.{name.removeprefix('model.').replace('.', '')}"] = tensor
        state["model_ema.decay"] = torch.tensor(0.9999)
        state["model_ema.num_updates"] = torch.tensor(440_000, dtype=torch.int32)
    content = {"epoch": 12, "global_step": 440_000, "pytorch-lightning_version": "1.4.2", "state_dict": state}
    with _lightning_callback() as callback:
        if callbacks:
            content["callbacks"] = {callback: {"monitor": "val/loss", "best_model_score": None}}
        torch.save(content, path)
    return path


def write_torchscript(path: Path, tensors: Tensors, buffers: Tensors | None = None) -> Path:
    """A TorchScript archive, as CLIP is published: a tree of modules with these parameters and buffers."""
    root = _Node()
    for name, tensor in tensors.items():
        parent, last = _parent(root, name)
        parent.register_parameter(last, nn.Parameter(tensor.clone(), tensor.is_floating_point()))
    for name, tensor in (buffers or {}).items():
        parent, last = _parent(root, name)
        parent.register_buffer(last, tensor.clone())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(root, torch.zeros(1)).save(str(path))
    return path


def write_bin(path: Path, tensors: Tensors) -> Path:
    """A `.bin` of diffusers or transformers: the tensors alone."""
    torch.save(_state_dict(tensors), path)
    return path


def write_safetensors(path: Path, tensors: Tensors) -> Path:
    """A safetensors file."""
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path, {"format": "pt"})
    return path


class _Node(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1


def _parent(root: nn.Module, name: str) -> tuple[nn.Module, str]:
    *path, last = name.split(".")
    for part in path:
        if part not in dict(root.named_children()):
            root.add_module(part, _Node())
        root = root.get_submodule(part)
    return root, last


def _state_dict(tensors: Tensors) -> OrderedDict[str, Tensor]:
    """What `nn.Module.state_dict` returns: it has the versions of the modules as an attribute."""
    found = OrderedDict(tensors)
    found._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]
    return found


@contextmanager
def _lightning_callback() -> Iterator[type]:
    """A class with the name of Lightning's, which is not installed. It exists while the file is written."""
    name = "pytorch_lightning.callbacks.model_checkpoint"
    parts = name.split(".")
    modules = {".".join(parts[: i + 1]): ModuleType(".".join(parts[: i + 1])) for i in range(len(parts))}
    callback = type("ModelCheckpoint", (), {"__module__": name})
    modules[name].ModelCheckpoint = callback  # type: ignore[attr-defined]
    before = {module: sys.modules.get(module) for module in modules}
    sys.modules.update(modules)
    try:
        yield callback
    finally:
        for module, old in before.items():
            if old is None:
                del sys.modules[module]
            else:
                sys.modules[module] = old

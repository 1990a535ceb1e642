"""The device of PyTorch."""

from __future__ import annotations

import os

import torch

from reference.errors import DeviceError


def choose_device(name: str | None = None) -> torch.device:
    """Return the device of that name. Default: a GPU if there is one, else the CPU.

    For a GPU this turns TF32 off, because cuDNN's convolutions would round float32 to TF32's 10 bits.

    Raises:
        DeviceError: there is no such device, or several processes were given the same one.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"there is no device {name!r}", "give cpu, cuda, or cuda:1") from error
    if device.type != "cuda":
        return device
    if device.index is not None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise DeviceError(
            f"{name} was given to every process", "give --device cuda: each takes the GPU of its local rank"
        )
    index = device.index if device.index is not None else int(os.environ.get("LOCAL_RANK", "0"))
    if not torch.cuda.device_count():
        raise DeviceError(
            f"there is no device {name!r}: PyTorch finds no GPU",
            "give --device cpu; if there is a GPU, look at nvidia-smi and at which PyTorch is installed",
        )
    if index >= torch.cuda.device_count():
        raise DeviceError(
            f"there is no GPU {index}; PyTorch sees {torch.cuda.device_count()}",
            "start no more processes than there are GPUs, or give --device cpu",
        )
    torch.cuda.set_device(index)
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda", index)

"""Lets open_clip, timm and diffusers import where torchvision's compiled part cannot load.

They import torchvision for image transforms that this project does not use. torchvision tolerates that
its compiled operators are missing, but it registers fake implementations for two of them, and PyTorch
refuses those for operators that nobody declared. Declaring them is enough.
Import this module before any of the three.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util

import torch

_NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_SCHEMAS = {"torchvision::nms": _NMS, "torchvision::qnms": _NMS}


def declare_operators() -> None:
    """Declare the operators torchvision needs for its import, if its compiled part does not."""
    package = importlib.util.find_spec("torchvision")
    if package is None or package.submodule_search_locations is None:
        return
    # The compiled part goes first: loading it after our declaration would declare them twice.
    if not any(_loads(folder) for folder in package.submodule_search_locations):
        for name, schema in _SCHEMAS.items():
            torch.library.define(name, schema)


def _loads(folder: str) -> bool:
    loader = (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES)
    library = importlib.machinery.FileFinder(folder, loader).find_spec("_C")
    if library is None or library.origin is None:
        return False
    try:
        torch.ops.load_library(library.origin)
    except OSError:
        return False
    return True


declare_operators()

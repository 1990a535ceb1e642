"""Makes open_clip, timm and diffusers importable if torchvision's compiled part cannot be loaded.

They import torchvision for image transforms that this project does not use. torchvision works without its
compiled operators, but it registers fake implementations for two of them. PyTorch refuses that for operators
that are not declared, so this module declares them. Import it before any of the three.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util

import torch

_NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_SCHEMAS = {"torchvision::nms": _NMS, "torchvision::qnms": _NMS}


def declare_operators() -> None:
    """Declare the operators that the import of torchvision needs, unless its compiled part declares them."""
    package = importlib.util.find_spec("torchvision")
    if package is None or package.submodule_search_locations is None:
        return
    # The compiled part is loaded first. After our declaration, it would declare the operators a second time.
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

"""What a pickle of weights may name. Everything is listed by its exact name; anything else is refused.

The list is shorter than that of `torch.load(weights_only=True)`, which also makes byte arrays of any size,
tensor subclasses, and tensors that are sparse, quantized, nested or complex.
"""

from __future__ import annotations

import re

#: Storage classes -> the dtype of their numbers.
STORAGES = {
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.DoubleStorage": "float64",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
}
#: Bytes of one number.
ITEM_SIZES = {
    "float64": 8,
    "int64": 8,
    "float32": 4,
    "int32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}
ORDERED_DICT = "collections.OrderedDict"
TENSOR = "torch._utils._rebuild_tensor_v2"
PARAMETER = "torch._utils._rebuild_parameter"
SIZE = "torch.Size"
SETS = frozenset({"builtins.set", "__builtin__.set"})
ENCODE = "_codecs.encode"

#: Made by functions of PyTorch itself.
OF_TORCH = frozenset({*STORAGES, ORDERED_DICT, TENSOR, PARAMETER, SIZE, *SETS, ENCODE})

#: Keys of the dictionary of callbacks in checkpoints of Lightning before 1.5. They are never called.
CALLBACKS = frozenset(
    {
        "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
        "pytorch_lightning.callbacks.pt_callbacks.ModelCheckpoint",
        "lightning.pytorch.callbacks.model_checkpoint.ModelCheckpoint",
    }
)
#: Numbers of a training loop. They become inert objects: no weights are in them.
OF_NUMPY = frozenset(
    {
        "numpy.dtype",
        "numpy.ndarray",
        "numpy.core.multiarray.scalar",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "numpy._core.multiarray._reconstruct",
    }
)
#: Typed lists of TorchScript modules.
SCRIPT_LISTS = frozenset(
    f"torch.jit._pickle.{name}" for name in ("build_intlist", "build_doublelist", "build_boollist")
)
#: Classes of TorchScript modules, which exist only in their archive.
SCRIPT_CLASS = re.compile(r"__torch__(\.[A-Za-z_][A-Za-z0-9_]*)+")
#: Most classes in one archive; CLIP has about 300.
MOST_CLASSES = 2000


def is_allowed(name: str, is_script: bool) -> bool:
    """Return whether the pickle of a file, or of a TorchScript archive, may name this."""
    if is_script:
        return name in OF_TORCH or name in SCRIPT_LISTS or is_script_class(name)
    return name in OF_TORCH or name in CALLBACKS or name in OF_NUMPY


def is_inert(name: str) -> bool:
    """Return whether the class or function is replaced by an inert one."""
    return name in CALLBACKS or name in OF_NUMPY or name in SCRIPT_LISTS or is_script_class(name)


def is_script_class(name: str) -> bool:
    """Return whether it is a class of a TorchScript module."""
    return SCRIPT_CLASS.fullmatch(name) is not None

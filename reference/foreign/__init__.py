"""Weight files of other programs, opened without running anything in them.

A `.pth`, `.ckpt` or `.bin` is a zip archive with a pickle, and a pickle is a program: a stranger's file could run
commands, fill the memory or the disk. Files are read in these steps, each of which refuses with a WeightsError:

1. `archive`: the zip archive is one as PyTorch writes it, and every program would see the same entries in it.
2. `pickle_check`: the pickle is followed without running it. It may name only what `names` lists, and every
   tensor lies in the data of its file.
3. `torch_file`: `torch.load(weights_only=True)`, with the foreign classes of that list replaced by inert ones and
   the tensors mapped from the disk. What it gives is checked once more.

A TorchScript archive (`torchscript`) is read through its data alone, never by `torch.jit.load`, which runs the
operators that the archive names. A safetensors file (`safetensors_header`) holds no program; its header is checked.

The file must not be written to while it is open.
"""

from reference.foreign.opening import ForeignFile, open_weights

__all__ = ["ForeignFile", "open_weights"]

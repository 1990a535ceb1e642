"""Weight files of other programs, opened without running anything in them.

A `.pth`, `.ckpt` or `.bin` is a zip archive with a pickle, and a pickle is a program: a file of a stranger
could run commands, or fill the memory or the disk. A file is read in these steps. Each refuses with a
WeightsError.

1. `archive`: it is a zip archive as PyTorch writes it, and every program would see the same entries in it.
2. `pickle_check`: the pickle is followed without being run. It names only what `names` lists, and the numbers
   of every tensor lie in the file.
3. `torch_file`: `torch.load(weights_only=True)` loads it. Foreign classes of that list are replaced by inert
   ones, and tensors are mapped from the disk. The result is checked once more.

A TorchScript archive is read through its data alone (`torchscript`), never by `torch.jit.load`, which runs
the operators that the archive names. A safetensors file holds no program; `safetensors_header` checks what it
says.

A file must not be written to while it is open.
"""

from reference.foreign.opening import ForeignFile, open_weights

__all__ = ["ForeignFile", "open_weights"]

"""Weights in and out, under the official names.

Loading is strict: every tensor of the model is in the file, every tensor of the file is in the model,
every shape fits, copies agree and constants are the ones this code computes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from odise_trt.errors import WeightsError
from reference.conversion import COND_STAGE, SCHEDULE, ConversionTable
from reference.preset import PRESETS, Preset
from reference.random_weights import BROAD_MASKS, SPARSE_MASKS, Masks, SkipInitialisation, fill
from reference.schedule import schedule

if TYPE_CHECKING:
    from reference.model import ODISE

_SEEDED = "random:"
#: The demo preset has no trained weights yet.
_DEMO_SEED = 0
_NAMES_SHOWN = 5


class WeightsDescription(TypedDict):
    """Where weights came from, for a manifest.

    Attributes:
        source: "random:SEED", "demo", or the name of the file.
        sha256: of the file, or of the text that seeded weights were made from.
        seeded: they are random numbers, not a trained model.
    """

    source: str
    sha256: str
    seeded: bool


class Slot(NamedTuple):
    """A tensor of the model, in the terms of the official files.

    Attributes:
        tensor: the parameter or buffer itself.
        names: its official names, one per copy.
        shape: its official shape.
    """

    tensor: Tensor
    names: tuple[str, ...]
    shape: tuple[int, ...]


def load_weights(preset: Preset | str, source: str) -> ODISE:
    """A model in evaluation mode, fp32, on the CPU.

    Args:
        preset: a preset or its name.
        source: "random:SEED", "demo", or the path of a safetensors file under the official names, in
            half or single precision.

    Raises:
        WeightsError: unknown preset or source, or a file that does not fit the preset exactly.
    """
    preset = _preset(preset)
    seed = _seed(preset, source)
    if seed is not None:
        model = _allocated(preset)
        fill_random(model, seed, SPARSE_MASKS if source == "demo" else BROAD_MASKS)
    else:
        with _SafetensorsFile(_existing(source)) as tensors:
            model = _allocated(preset)
            load_official(model, tensors)
    return model.eval()


def describe_weights(preset: Preset | str, source: str) -> WeightsDescription:
    """What a manifest records of `source`; takes the same arguments as `load_weights`.

    Raises:
        WeightsError: unknown preset or source. What is in a file is for `load_weights` to judge.
    """
    seed = _seed(_preset(preset), source)
    if seed is not None:
        digest = hashlib.sha256(source.encode()).hexdigest()
        return WeightsDescription(source=source, sha256=digest, seeded=True)
    path = _existing(source)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return WeightsDescription(source=path.name, sha256=digest, seeded=False)


def fill_random(model: ODISE, seed: int, masks: Masks = BROAD_MASKS) -> None:
    """Overwrite all parameters, the shared noise and the empty caption's embedding with seeded numbers."""
    buffers = {"uncond_inputs", "shared_noise"}
    with torch.no_grad():
        for slot in slots(model):
            name = slot.names[0]
            if isinstance(slot.tensor, torch.nn.Parameter) or name.rpartition(".")[2] in buffers:
                fill(name, slot.tensor, seed, masks)


def load_official(model: ODISE, tensors: Mapping[str, Tensor]) -> None:
    """Copy official tensors into a model, strictly.

    Of copies (CLIP is in the official files three times) one must be there; all that are must be equal.

    Raises:
        WeightsError: a tensor is missing, left over, of another shape, differs from its copy, or is a
            constant with another value. The model is not to be used then.
    """
    wanted = slots(model)
    constants = derived_constants(model.preset)
    have = set(tensors)
    missing = [slot.names[0] for slot in wanted if have.isdisjoint(slot.names)]
    missing += [name for name in constants if name not in have]
    unexpected = have.difference(constants, *(slot.names for slot in wanted))
    if missing or unexpected:
        raise WeightsError(
            f"the weights do not fit preset {model.preset.name!r}:\n"
            f"  missing: {_listing(missing)}\n  unexpected: {_listing(sorted(unexpected))}",
            "give a complete file for this preset; the released checkpoints leave the frozen parts out",
        )
    with torch.no_grad():
        for slot in wanted:
            first, *copies = [name for name in slot.names if name in have]
            value = _real(first, _checked(first, tensors[first], slot.shape))
            for copy in copies:
                if not torch.equal(_checked(copy, tensors[copy], slot.shape), value):
                    raise WeightsError(
                        f"{first} and {copy} differ, but the model has one tensor for both",
                        "all copies of CLIP in a file must be the same: convert the files again",
                    )
            slot.tensor.copy_(value.reshape(slot.tensor.shape))
        for name, expected in constants.items():
            value = _checked(name, tensors[name], tuple(expected.shape))
            # Half precision rounds by up to 2^-11, and flushes what is below 6e-8.
            if not torch.allclose(value.double(), expected.double(), rtol=1e-3, atol=1e-7):
                raise WeightsError(
                    f"{name} is not the constant of Stable Diffusion 1.x",
                    "give weights that were made from Stable Diffusion v1.3",
                )


def official_state_dict(model: ODISE, *, copies: bool = True) -> dict[str, Tensor]:
    """The tensors of a model under their official names and in their official shapes.

    Args:
        copies: name CLIP three times (all views of one tensor), as the official files do. Without, once;
            `load_official` accepts both.
    """
    state = {}
    for slot in slots(model):
        for name in slot.names if copies else slot.names[:1]:
            state[name] = slot.tensor.detach().reshape(slot.shape)
    return state | derived_constants(model.preset)


def slots(model: ODISE) -> list[Slot]:
    """The parameters and persistent buffers of a model, each once."""
    table = ConversionTable(model.preset)
    aliases: dict[int, list[str]] = {}
    tensors = model.state_dict(keep_vars=True)
    for name, tensor in tensors.items():
        aliases.setdefault(id(tensor), []).append(name)
    found = []
    for names in aliases.values():
        # A shared module (CLIP) appears under every module that uses it; the table knows one of the paths.
        name = next((name for name in names if table.row(name) is not None), names[0])
        row, tensor = table.row(name), tensors[name]
        pointwise = row is not None and row.pointwise and tensor.ndim == 2
        shape = (*tensor.shape, 1, 1) if pointwise else tuple(tensor.shape)
        found.append(Slot(tensor, table.official_names(name), shape))
    return found


def derived_constants(preset: Preset) -> dict[str, Tensor]:
    """What official files hold and the model computes: the noise schedule, and positions of tokens."""
    constants = {f"{SCHEDULE}.{name}": torch.from_numpy(values) for name, values in schedule().items()}
    if preset.cond_stage is not None:
        positions = torch.arange(preset.cond_stage.max_length)[None]
        constants[f"{COND_STAGE}.embeddings.position_ids"] = positions
    return constants


def _allocated(preset: Preset) -> ODISE:
    # Here, so that writing and describing weights does not import the whole model.
    from reference.model import ODISE

    with SkipInitialisation():
        return ODISE(preset)


def _preset(preset: Preset | str) -> Preset:
    if isinstance(preset, Preset):
        return preset
    if preset not in PRESETS:
        raise WeightsError(f"there is no preset {preset!r}", f"presets: {', '.join(PRESETS)}")
    return PRESETS[preset]


def _seed(preset: Preset, source: str) -> int | None:
    if source == "demo":
        if preset.name != "demo":
            raise WeightsError(
                f"the demo weights do not fit preset {preset.name!r}",
                "use --preset demo, or give a safetensors file or random:SEED",
            )
        return _DEMO_SEED
    if not source.startswith(_SEEDED):
        return None
    number = source.removeprefix(_SEEDED)
    if not number.isdecimal():
        raise WeightsError(f"{source!r} has no seed", "give a whole number, like random:0")
    return int(number)


def _existing(source: str) -> Path:
    path = Path(source)
    if not path.is_file():
        raise WeightsError(
            f"there is no weights file {source}", "give a safetensors file, demo, or random:SEED"
        )
    return path


class _SafetensorsFile(Mapping[str, Tensor]):
    """A safetensors file whose tensors are read when asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> _SafetensorsFile:
        try:
            self._file = safe_open(self._path, framework="pt").__enter__()
        except (SafetensorError, OSError) as error:
            raise WeightsError(
                f"{self._path} cannot be read as safetensors: {error}", "download or convert it again"
            ) from error
        self._names = frozenset(self._file.keys())
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.__exit__(*exception)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        return self._file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _checked(name: str, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    if tuple(tensor.shape) != shape:
        raise WeightsError(
            f"{name} has shape {tuple(tensor.shape)}, the preset needs {shape}",
            "give the weights of this preset",
        )
    return tensor


def _real(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        raise WeightsError(
            f"{name} is {str(tensor.dtype).removeprefix('torch.')}, not floating point",
            "give weights in half or single precision",
        )
    return tensor


def _listing(names: Iterable[str]) -> str:
    names = list(names)
    shown = ", ".join(names[:_NAMES_SHOWN])
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"{len(names)}" + (f" ({shown}{more})" if names else "")

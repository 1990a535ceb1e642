"""Loading and saving weights, under the official names.

Loading is strict: every tensor of the model is in the file, every tensor of the file is in the model,
every shape fits, copies agree and constants are the ones this code computes.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, NotRequired, TypedDict

import torch
from torch import Tensor

from odise_trt.errors import WeightsError, hint_for, reason
from reference.model.allocation import SkipInitialisation
from reference.names import OFFICIAL
from reference.noise_schedule import schedule
from reference.preset import Preset, find_preset
from reference.weights import shipped
from reference.weights.diagnosis import misfit, unreadable
from reference.weights.header import content_sha256, sd_version
from reference.weights.official_names import COND_STAGE, SCHEDULE, ConversionTable
from reference.weights.place import official_file
from reference.weights.random import fill
from reference.weights.safetensors_file import WeightsFile, write_weights

if TYPE_CHECKING:
    from reference.model import ODISE

_SEEDED = "random:"
_DEMO = {"demo": shipped.LABEL, "demo-caption": shipped.CAPTION}
_NAMES_SHOWN = 5
_SOURCES = "give a safetensors file, official, demo, or random:SEED"
_CLASS_WEIGHTS = "criterion.empty_weight"
#: Types of stored weights. The model computes in single precision.
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

_CAPTIONER = tuple(
    f"backbone.feature_extractor.{part}" for part in ("alpha_cond", "clip_project.", "time_embed_project.")
)
#: Prefixes of names that models of both kinds have.
_SHARED = ("backbone.", "clip_head.")

#: "trainable": the tensors of released checkpoints. "frozen": the others, UNet, VAE, CLIP, their constants.
Part = Literal["whole", "trainable", "frozen"]


class WeightsDescription(TypedDict):
    """The source of weights, for a manifest.

    Attributes:
        source: "random:SEED", "demo", "official", or the name of the file.
        sha256: of the file, or of the text "random:SEED". For a file that `odise-trt convert` wrote, the hash
            of its tensors as the header states it: 6 GB are not read for it.
        seeded: the weights are random numbers, not a trained model.
        sd_version: the version of Stable Diffusion, if the header of the file says it.
    """

    source: str
    sha256: str
    seeded: bool
    sd_version: NotRequired[str]


class Slot(NamedTuple):
    """A tensor of the model, with its names and its shape in the official files.

    Attributes:
        tensor: the parameter or buffer itself.
        ours: its name in this code.
        names: its official names, one per copy.
        shape: its official shape.
        trainable: it belongs to the trainable part.
    """

    tensor: Tensor
    ours: str
    names: tuple[str, ...]
    shape: tuple[int, ...]
    trainable: bool


def load_weights(preset: Preset | str, source: str, *, frozen: str | None = None) -> ODISE:
    """Load a model in evaluation mode, fp32, on the CPU.

    If a file states its training labels (`WeightsFile.labels`), they replace those of the preset.

    Args:
        preset: a preset or its name.
        source: "random:SEED", "demo", "official" (the converted file in the folder for weights), or the path
            of a safetensors file under the official names, in half (float16, bfloat16), single or double
            precision.
        frozen: source of the frozen part, if `source` is a file without it. The same choices.

    Raises:
        PresetError: unknown preset.
        WeightsError: unknown source, or a file that does not fit the preset exactly.
    """
    preset = find_preset(preset)
    if (seed := seed_of(source)) is not None:
        if frozen is not None:
            raise WeightsError(f"{source} has a frozen part", "leave the other one out")
        model = _allocated(preset)
        fill_random(model, seed)
        return model.eval()
    if source == "demo" and preset.kind == "caption":
        frozen = frozen or "demo"
    with WeightsFile(weights_file(preset, source)) as tensors:
        if tensors.labels is not None:
            preset = replace(preset, train_labels=tensors.labels)
        if frozen is None:
            model = _allocated(preset)
            load_official(model, tensors)
        else:
            model = load_frozen(preset, frozen)
            load_official(model, tensors, part="trainable")
    return model.eval()


def load_frozen(preset: Preset | str, source: str) -> ODISE:
    """Load a model with the frozen part of `source`, a file with or without the trainable part.

    The trainable part is not initialised; call `reference.training.initialise`.

    Raises:
        WeightsError: as `load_weights`.
    """
    preset = find_preset(preset)
    if seed_of(source) is not None:
        return load_weights(preset, source)
    # The frozen part of both demo models is in the file of the label model.
    path = shipped.LABEL if source == "demo" else weights_file(preset, source)
    with WeightsFile(path) as tensors:
        model = _allocated(preset)
        load_official(model, tensors, part="frozen")
    return model.eval()


def save_weights(path: Path, model: ODISE, *, part: Part = "whole", **metadata: str) -> None:
    """Write the weights of a model under the official names, with the labels it was trained on.

    Args:
        path: of the file. It exists only when it is complete.
        part: `load_weights` takes a "whole" file alone, and a "trainable" one with `frozen`.
        metadata: further entries for the header of the file.

    Raises:
        OutputError: it cannot be written.
    """
    tensors = official_state_dict(model, copies=False, part=part)
    labels = tuple(tuple(names) for names in model.train_labels)
    write_weights(path, tensors, labels, {"preset": model.preset.name, **metadata})


def describe_weights(preset: Preset | str, source: str) -> WeightsDescription:
    """Describe `source` for a manifest; arguments as for `load_weights`.

    Raises:
        PresetError: unknown preset.
        WeightsError: unknown source, or a file that cannot be read. Its content is not checked.
    """
    preset = find_preset(preset)
    if seed_of(source) is not None:
        digest = hashlib.sha256(source.encode()).hexdigest()
        return WeightsDescription(source=source, sha256=digest, seeded=True)
    path = weights_file(preset, source)
    digest = content_sha256(path) or _file_hash(path)
    name = source if source in ("demo", OFFICIAL) else path.name
    described = WeightsDescription(source=name, sha256=digest, seeded=False)
    if (version := sd_version(path)) is not None:
        described["sd_version"] = version
    return described


def weights_file(preset: Preset, source: str) -> Path:
    """Return the file that a source of weights other than "random:SEED" stands for.

    Raises:
        WeightsError: there is no such file, or it may not be read.
    """
    if not source.strip():
        raise WeightsError("an empty value was given for the weights", _SOURCES)
    if "://" in source:
        raise WeightsError(f"{source} is an address, not a file", "download the file, and give its place")
    if source == OFFICIAL:
        path = official_file(preset.name)
        if not path.exists():
            raise WeightsError(
                f"the published weights of {preset.name} are not here: there is no {path}",
                f"run odise-trt download {preset.name}, then odise-trt convert {preset.name} -o {path};"
                " odise-trt build --weights official does both",
            )
    elif source != "demo":
        path = Path(os.path.expanduser(source))
    elif preset.name in _DEMO:
        path = _DEMO[preset.name]
    else:
        raise WeightsError(
            f"the demo weights do not fit preset {preset.name!r}",
            "use --preset demo, or give a safetensors file or random:SEED",
        )
    _try_to_read(path)
    return path


def _file_hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def fill_random(model: ODISE, seed: int) -> None:
    """Overwrite all parameters, the shared noise and the empty caption's embedding with seeded numbers."""
    buffers = {"uncond_inputs", "shared_noise"}
    with torch.no_grad():
        for slot in slots(model):
            name = slot.names[0]
            if isinstance(slot.tensor, torch.nn.Parameter) or name.rpartition(".")[2] in buffers:
                fill(name, slot.tensor, seed)


def load_official(model: ODISE, tensors: Mapping[str, Tensor], *, part: Part = "whole") -> None:
    """Copy official tensors into a model, strictly. Tensors outside `part` are not read.

    The official files have CLIP three times. One copy is enough; if there are more, they must be equal.

    Raises:
        WeightsError: a tensor is missing, unknown, of another shape, unequal to its copy, or a constant with
            another value. Do not use the model then.
    """
    require_names(model, tensors, part=part)
    with torch.no_grad():
        for slot in slots(model):
            if _belongs(slot, part):
                slot.tensor.copy_(official_value(slot, tensors))
    if part != "trainable":
        require_constants(model.preset, tensors)


def require_names(model: ODISE, tensors: Mapping[str, Tensor], *, part: Part = "whole") -> None:
    """Raise WeightsError unless a file has every tensor of a model, and no other. No tensor is read.

    Raises:
        WeightsError: see above. The hint says what the file may be.
    """
    known = slots(model)
    wanted = [slot for slot in known if _belongs(slot, part)]
    constants: Collection[str] = derived_constants(model.preset)
    have = set(tensors)
    unexpected = have.difference(constants, *(slot.names for slot in known))
    if part == "trainable":
        constants = ()
    elif part == "frozen":
        # Label and caption models have the same frozen part, but heads with other names.
        unexpected = {name for name in unexpected if name.startswith(_SHARED)}
    missing = [slot.names[0] for slot in wanted if have.isdisjoint(slot.names)]
    missing += [name for name in constants if name not in have]
    if missing or unexpected:
        raise WeightsError(
            f"the weights do not fit preset {model.preset.name!r}:\n"
            f"  missing: {_listing(missing)}\n  unexpected: {_listing(sorted(unexpected))}",
            misfit(have, missing, unexpected, [n for slot in known if slot.trainable for n in slot.names]),
        )


def official_value(slot: Slot, tensors: Mapping[str, Tensor], *, copies: bool = True) -> Tensor:
    """Read a tensor of a model from a file that has it, in the shape that it has in the model.

    Args:
        copies: True: compare it with its copies in the file.

    Raises:
        WeightsError: it has another shape or dtype, or is unequal to its copy.
    """
    first, *others = [name for name in slot.names if name in tensors]
    value = _real(first, _checked(first, tensors[first], slot.shape))
    for copy in others if copies else ():
        if not torch.equal(_checked(copy, tensors[copy], slot.shape).double(), value.double()):
            raise WeightsError(
                f"{first} and {copy} differ, but the model has one tensor for both",
                "all copies of CLIP in a file must be the same: convert the files again",
            )
    return value.reshape(slot.tensor.shape)


def require_constants(preset: Preset, tensors: Mapping[str, Tensor]) -> None:
    """Raise WeightsError unless the constants of a file are the ones this code computes.

    Raises:
        WeightsError: one has another shape or value.
    """
    for name, expected in derived_constants(preset).items():
        value = _checked(name, tensors[name], tuple(expected.shape))
        # Half precision rounds by up to 2^-11, and flushes what is below 6e-8; bfloat16 by 2^-8.
        rounding = torch.finfo(value.dtype).eps if value.is_floating_point() else 0.0
        same = torch.isclose(value.double(), expected.double(), rtol=max(1e-3, rounding), atol=1e-7)
        if not same.all():
            raise WeightsError(
                f"{name} is not the constant of Stable Diffusion 1.x",
                "give weights that were made from Stable Diffusion v1.3",
            )


def official_state_dict(model: ODISE, *, copies: bool = True, part: Part = "whole") -> dict[str, Tensor]:
    """Return the tensors of a model under their official names and in their official shapes.

    Args:
        copies: True: CLIP three times (views of the same tensors), as in the official files. False: once.
            `load_official` accepts both.
        part: the tensors to return.
    """
    state = {}
    for slot in slots(model):
        if not _belongs(slot, part):
            continue
        for name in slot.names if copies else slot.names[:1]:
            state[name] = slot.tensor.detach().reshape(slot.shape)
    return state if part == "trainable" else state | derived_constants(model.preset)


def slots(model: ODISE) -> list[Slot]:
    """List the parameters and persistent buffers of a model, each once."""
    table = ConversionTable(model.preset)
    aliases: dict[int, list[str]] = {}
    tensors = model.state_dict(keep_vars=True)
    for name, tensor in tensors.items():
        aliases.setdefault(id(tensor), []).append(name)
    found = []
    for names in aliases.values():
        # A shared module (CLIP) appears under every module that uses it. The table has one of the paths.
        name = next((name for name in names if table.row(name) is not None), names[0])
        row, tensor = table.row(name), tensors[name]
        pointwise = row is not None and row.pointwise and tensor.ndim == 2
        shape = (*tensor.shape, 1, 1) if pointwise else tuple(tensor.shape)
        # Released checkpoints also have the class weights, a buffer, and the captioner, which some ablated
        # models have but do not use.
        trainable = (
            tensor.requires_grad or tensor is model.criterion.empty_weight or name.startswith(_CAPTIONER)
        )
        found.append(Slot(tensor, name, table.official_names(name), shape, trainable))
    return found


def derived_constants(preset: Preset) -> dict[str, Tensor]:
    """Return the constants of official files that the model computes: noise schedule, token positions."""
    constants = {f"{SCHEDULE}.{name}": torch.from_numpy(values) for name, values in schedule().items()}
    if preset.cond_stage is not None:
        positions = torch.arange(preset.cond_stage.max_length)[None]
        constants[f"{COND_STAGE}.embeddings.position_ids"] = positions
    return constants


def _belongs(slot: Slot, part: Part) -> bool:
    return part == "whole" or slot.trainable == (part == "trainable")


def _allocated(preset: Preset) -> ODISE:
    # Imported here, so that saving and describing weights does not import the whole model.
    from reference.model import ODISE

    with SkipInitialisation():
        return ODISE(preset)


def seed_of(source: str) -> int | None:
    """Return the seed of "random:SEED". None: the source is another one.

    Raises:
        WeightsError: the seed is not a number.
    """
    if not source.startswith(_SEEDED):
        return None
    number = source.removeprefix(_SEEDED)
    if not number.isdecimal():
        raise WeightsError(f"{source!r} has no seed", "give a whole number, like random:0")
    return int(number)


def _try_to_read(path: Path) -> None:
    """Open a file and close it again, because libraries report "No such file" for a file without permission.

    Raises:
        WeightsError: it is not there, is no file, or may not be read.
    """
    try:
        if path.is_dir():
            raise unreadable(path)
        if not stat.S_ISREG(path.stat().st_mode):
            raise WeightsError(f"{path} is not a file", _SOURCES)
        path.open("rb").close()
    except FileNotFoundError:
        raise WeightsError(f"there is no weights file {path}", _SOURCES) from None
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:  # a null character in the name
        raise WeightsError(f"{str(path)!r} is not a file name: {error}", _SOURCES) from None


def _unreadable(path: Path, error: OSError) -> WeightsError:
    return WeightsError(f"{path} cannot be read: {reason(error)}", hint_for(error) or _SOURCES)


def _checked(name: str, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    if tuple(tensor.shape) != shape:
        if name == _CLASS_WEIGHTS and tensor.ndim == 1:
            raise _other_labels(len(tensor) - 1, shape[0] - 1)
        raise WeightsError(
            f"{name} has shape {tuple(tensor.shape)}, the preset needs {shape}",
            "give the weights of this preset",
        )
    return tensor


def _real(name: str, tensor: Tensor) -> Tensor:
    if tensor.dtype not in _DTYPES:
        kind = str(tensor.dtype).removeprefix("torch.")
        what = f"{kind}, of too few bits" if tensor.is_floating_point() else f"{kind}, not floating point"
        raise WeightsError(f"{name} is {what}", "save the weights in half or single precision")
    return tensor


def _other_labels(theirs: int, ours: int) -> WeightsError:
    """Return the error for another number of categories. Files of this program state their categories."""
    return WeightsError(
        f"the weights were trained on {theirs} categories and the preset is for {ours}"
        f" ({_CLASS_WEIGHTS} has shape ({theirs + 1},)), and the file does not name its categories",
        "give the file as training wrote it; a tool that saved it again lost its metadata (train_labels)",
    )


def _listing(names: Iterable[str]) -> str:
    names = list(names)
    shown = ", ".join(names[:_NAMES_SHOWN])
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"{len(names)}" + (f" ({shown}{more})" if names else "")

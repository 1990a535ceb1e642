"""The conversion itself: three files in, one file out."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from odise_trt.errors import OutputError, WeightsError
from reference.convert import versions
from reference.convert.expected import OURS, Expected
from reference.convert.sources import open_clip, open_odise, open_stable_diffusion
from reference.convert.sources.source import Lazy, Source
from reference.download.artefacts import CC_BY_NC_SA, MIT, OPENRAIL_M
from reference.download.fetching import require_room
from reference.download.reporter import SILENT, Reporter
from reference.model.allocation import SkipInitialisation
from reference.model.diffusion import build_cond_stage, empty_caption
from reference.preset import Preset, find_preset
from reference.weights.random import NOISE_SEED
from reference.weights.safetensors_file import LABELS
from reference.weights.stream import Entry, write_streamed

#: Role of a source -> its licence. The result is under all of them.
LICENCES = {"odise": CC_BY_NC_SA, "stable_diffusion": OPENRAIL_M, "clip": MIT}
#: "single": everything in fp32. "stored": as the files have it; OpenAI's CLIP is half then, without loss.
Precision = Literal["single", "stored"]
_HEADER_ROOM = 2 * 10**6


@dataclass(frozen=True)
class Inputs:
    """The files of a conversion.

    Attributes:
        odise: a release, or a checkpoint of the official training. None: the frozen part alone is written.
        stable_diffusion: one file, or a folder of diffusers.
        clip: CLIP ViT-L/14-336, of OpenAI, open_clip or transformers.
    """

    odise: Path | None
    stable_diffusion: Path
    clip: Path


@dataclass(frozen=True)
class Converted:
    """A written file.

    Attributes:
        tensors: how many it has.
        content_sha256: over all tensors, as in its header.
        unet_fingerprint: see `versions.fingerprint`.
        versions: what the sources are: "odise", "stable_diffusion", "clip".
    """

    path: Path
    tensors: int
    bytes: int
    content_sha256: str
    unet_fingerprint: str
    versions: dict[str, str]


def convert(
    preset: Preset | str,
    inputs: Inputs,
    output: Path,
    *,
    accepted: Collection[str] = (),
    precision: Precision = "single",
    reporter: Reporter = SILENT,
) -> Converted:
    """Write one safetensors file under the official names.

    Only one tensor at a time is in memory besides the text encoder; files are memory-mapped.

    Args:
        output: the file. It gets its name when it is complete.
        accepted: names of versions that are not the official ones and are wanted ("sd-1.5").

    Raises:
        PresetError: there is no such preset.
        WeightsError: a file is damaged, unsafe, another one than expected, or of another version.
        OutputError: there is no room, or the file cannot be written.
    """
    preset = find_preset(preset)
    if preset.cond_stage is None:
        raise WeightsError(
            f"preset {preset.name!r} is not made of Stable Diffusion and CLIP",
            "convert odise-label or odise-caption",
        )
    expected = Expected.of(preset)
    _refuse_input(inputs, output)
    require_room(output.parent, expected.size + _HEADER_ROOM)
    with ExitStack() as stack:
        sources = _open(inputs, expected, reporter, stack, output.parent)
        for source in sources.values():
            for note in source.notes:
                reporter.note(note)
        unet = versions.fingerprint(sources["stable_diffusion"], expected, reporter)
        verdicts = _verdicts(sources, expected, unet, accepted, reporter)
        computed = _computed(sources, expected)
        held = (computed, *(source.tensors for source in sources.values()))
        tensors = Lazy({name: partial(one.__getitem__, name) for one in held for name in one})
        # In the order of the model, so that the same tensors give the same file whatever they came in.
        names = [name for part in expected.parts.values() for name in part if name in tensors]
        entries = [_entry(name, tensors[name], precision) for name in (*names, *expected.constants)]
        metadata = _metadata(expected, sources, verdicts, unet)
        size = sum(entry.size for entry in entries)
        with reporter.counting(f"writing {output.name}", size) as advance:
            content = write_streamed(output, entries, tensors.__getitem__, metadata, written=advance)
    told = {role: verdict.name for role, verdict in verdicts.items()}
    return Converted(output, len(entries), output.stat().st_size, content, unet, told)


def _open(
    inputs: Inputs, expected: Expected, reporter: Reporter, stack: ExitStack, work: Path
) -> dict[str, Source]:
    how = (expected, reporter, stack)
    sources = {} if inputs.odise is None else {"odise": open_odise(inputs.odise, *how)}
    sources["stable_diffusion"] = open_stable_diffusion(inputs.stable_diffusion, *how)
    sources["clip"] = open_clip(inputs.clip, *how, work)
    return sources


def _refuse_input(inputs: Inputs, output: Path) -> None:
    """Raise OutputError if the result would take the place of a file that it is made of."""
    for path in (inputs.odise, inputs.stable_diffusion, inputs.clip):
        if path is not None and path.exists() and output.exists() and output.samefile(path):
            raise OutputError(f"{output} is one of the files to convert", "give another --output")


def _verdicts(
    sources: Mapping[str, Source],
    expected: Expected,
    unet: str,
    accepted: Collection[str],
    reporter: Reporter,
) -> dict[str, versions.Verdict]:
    verdicts = {
        "stable_diffusion": versions.stable_diffusion_version(sources["stable_diffusion"], unet),
        "clip": versions.clip_version(sources["clip"], sources["clip"].tensors),
    }
    for role, verdict in verdicts.items():
        versions.require_accepted(verdict, sources[role], accepted, unet)
        if not verdict.sure:
            reporter.note(f"{sources[role].path.name} is {verdict.name}: its hash is not a known one")
    if "odise" in sources:
        verdicts["odise"] = versions.release_version(sources["odise"], expected.preset.name)
        if not verdicts["odise"].official:
            reporter.note(f"{sources['odise'].path.name} is not the release of {expected.preset.name}")
    unet_type = next(iter(sources["stable_diffusion"].tensors.values())).dtype
    if unet_type in (torch.float16, torch.bfloat16):
        reporter.note(
            "Stable Diffusion is in half precision: its outputs differ a little from the official ones"
        )
    return verdicts


def _computed(sources: Mapping[str, Source], expected: Expected) -> dict[str, Tensor]:
    """Return what is in no file, or need not be there: the empty caption, the noise, and the constants."""
    makers = {
        "uncond_inputs": lambda shape: _uncond_inputs(sources["stable_diffusion"], expected),
        "shared_noise": lambda shape: torch.randn(shape, generator=torch.Generator().manual_seed(NOISE_SEED)),
    }
    found = {
        name: makers[name.rpartition(".")[2]](wanted.shape)
        for name, wanted in expected.parts["computed"].items()
    }
    return found | dict(expected.constants)


@torch.no_grad()
def _uncond_inputs(source: Source, expected: Expected) -> Tensor:
    """Return the embedding of the empty caption, from Stable Diffusion's own text encoder in fp32."""
    cond_stage = expected.preset.cond_stage
    assert cond_stage is not None
    with SkipInitialisation():
        encoder = build_cond_stage(cond_stage).eval()
    state = {
        wanted.ours.removeprefix(OURS["text"]): source.tensors[name].float()
        for name, wanted in expected.parts["text"].items()
    }
    encoder.load_state_dict(state, strict=False, assign=True)
    return empty_caption(encoder)


def _entry(name: str, tensor: Tensor, precision: Precision) -> Entry:
    kept = precision == "stored" or not tensor.is_floating_point()
    return Entry(name, tensor.dtype if kept else torch.float32, tuple(tensor.shape))


def _metadata(
    expected: Expected, sources: Mapping[str, Source], verdicts: Mapping[str, versions.Verdict], unet: str
) -> dict[str, str]:
    from odise_trt import __version__

    files = {
        role: {
            "version": verdicts[role].name,
            "told_by_hash": verdicts[role].sure,
            "licence": LICENCES[role].name,
            "files": [asdict(file) for file in source.files],
        }
        for role, source in sources.items()
    }
    metadata = {
        "format": "pt",
        "preset": expected.preset.name,
        "converter": f"odise-trt {__version__}",
        "sources": json.dumps(files),
        "sd_version": verdicts["stable_diffusion"].name.removeprefix("sd-"),
        "unet_fingerprint": unet,
    }
    if "odise" in sources:
        metadata[LABELS] = json.dumps([list(names) for names in expected.labels])
    return metadata

"""Which published file it is. Versions 1.1 to 1.5 differ in nothing but the numbers of the UNet."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from odise_trt.errors import WeightsError
from reference.convert.expected import Expected
from reference.convert.sources.clip import is_openai
from reference.convert.sources.source import Source
from reference.download.artefacts import ARTEFACTS, OF_PRESET
from reference.download.reporter import Reporter

#: The version that ODISE is made of.
OFFICIAL = "1.3"
#: What stands for a version that nothing here can tell.
UNVERIFIED = "unverified"

#: SHA-256 of whole files -> version. A folder of diffusers is told by its UNet.
_STABLE_DIFFUSION = {
    "86cd1d3ccb044d7ba8db743d717c9bac603c4043508ad2571383f954390f3cea": "1.1",
    "efdeb5dc418a025d9a8cc0a8617e106c69044bc2925abecc8a254b2910d69829": "1.1",
    "3b87d30facd5bafca1cbed71cfb86648aad75d1c264663c0cc78c7aea8daec0d": "1.2",
    "bc5086a904d7b9d13d2a7bccf38f089824755be7261c7399d92e555e1e9ac69a": "1.2",
    ARTEFACTS["sd-v1-3"].sha256: "1.3",
    "54632c6e8a36eecae65e36cb0595fab314e1a1545a65209f24fde221a8d4b2ca": "1.3",
    "fe4efff1e174c627256e44ec2991ba279b3816e364b49f9be2abc0b3ff3f8556": "1.4",
    "14749efc0ae8ef0329391ad4436feb781b402f4fece4883c7ad8d10556d8a36a": "1.4",
    "cc6cb27103417325ff94f52b7a5d2dde45a7515b25c255d8e396c90014281516": "1.5",
    "6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa": "1.5",
    "e1441589a6f3c5a53f5f54d0975a18a7feb7cdf0b0dee276dfc3331ae376a053": "1.5",
    "1a189f0be69d6106a48548e7626207dddd7042a418dbf372cefd05e0cdba61b6": "1.5",
    "19da7aaa4b880e59d56843f1fcb4dd9b599c28a1d9d9af7c1143057c8ffae9f1": "1.5",
}
#: Fingerprint of the UNet -> version. None is known: none is published, and we have not seen the files.
_FINGERPRINTS: dict[str, str] = {}
#: SHA-256 -> name of the files of CLIP ViT-L/14-336.
_CLIP = {
    ARTEFACTS["clip-vit-l-14-336"].sha256: "OpenAI's archive",
    "fbc415c3d0d7b79faed8f5ccfb740c32b7c4f5ffe7283b851f89c6231c01a8e0": "open_clip's copy",
}
#: Preset -> the release of its trained part.
_RELEASES = {preset: ARTEFACTS[names[0]] for preset, names in OF_PRESET.items()}


@dataclass(frozen=True)
class Verdict:
    """What a file is.

    Attributes:
        name: for `--allow-version` and for the header, such as "sd-1.5", "sd-unverified".
        sure: told by its hash or by its fingerprint.
        official: what ODISE was made of, as far as can be told.
    """

    name: str
    sure: bool
    official: bool


def fingerprint(source: Source, expected: Expected, reporter: Reporter) -> str:
    """Return the SHA-256 over the tensors of the UNet as little-endian fp32, in the order of their names.

    It tells a version whatever the layout of the file.
    """
    digest = hashlib.sha256()
    shapes = expected.shapes("unet")
    total = sum(4 * torch.Size(shape).numel() for shape in shapes.values())
    with reporter.counting("fingerprint of the UNet", total) as advance:
        for name in sorted(shapes):
            tensor = source.tensors[name].to(torch.float32).contiguous()
            digest.update(tensor.numpy().data)
            advance(tensor.nbytes)
    return digest.hexdigest()


def stable_diffusion_version(source: Source, unet: str) -> Verdict:
    """Tell the version by the hash of the file, or by the fingerprint `unet`."""
    versions = {_STABLE_DIFFUSION[sha] for sha in source.hashes if sha in _STABLE_DIFFUSION}
    version = next(iter(versions), None) or _FINGERPRINTS.get(unet)
    if version is None:
        return Verdict(f"sd-{UNVERIFIED}", False, False)
    return Verdict(f"sd-{version}", True, version == OFFICIAL)


def clip_version(source: Source, tensors: Mapping[str, Tensor]) -> Verdict:
    """Tell OpenAI's CLIP by the hash of the file, or by its numbers."""
    if any(sha in _CLIP for sha in source.hashes):
        return Verdict("clip-openai", True, True)
    if is_openai(tensors):
        return Verdict("clip-openai", False, True)
    return Verdict(f"clip-{UNVERIFIED}", False, False)


def release_version(source: Source, preset: str) -> Verdict:
    """Tell a release by the beginning of its hash. Other checkpoints of the same training are fine."""
    hashes = source.hashes
    release = next((name for name, file in _RELEASES.items() if any(map(file.has_hash, hashes))), None)
    name = f"release of {release}" if release else "own training"
    return Verdict(name, release is not None, release == preset)


def require_accepted(verdict: Verdict, source: Source, accepted: Collection[str], unet: str = "") -> None:
    """Raise WeightsError unless a file is what ODISE was made of, or a person has accepted what it is."""
    if verdict.official or verdict.name in accepted:
        return
    accept = f"or accept it: --allow-version {verdict.name}"
    if verdict.name.startswith("clip"):
        raise WeightsError(
            f"{source.path} is not OpenAI's CLIP: its numbers are not those of half precision", accept
        )
    if not verdict.sure:
        raise WeightsError(
            f"{source.path} is Stable Diffusion 1.x, and nothing tells which version"
            f" (fingerprint of its UNet: {unet})",
            f"ODISE was trained on {OFFICIAL}: give sd-v1-3.ckpt, {accept}",
        )
    version = verdict.name.removeprefix("sd-")
    raise WeightsError(
        f"{source.path} is Stable Diffusion {version}; ODISE was trained on {OFFICIAL}, and other versions"
        " give other results",
        f"give sd-v1-3.ckpt, {accept}",
    )

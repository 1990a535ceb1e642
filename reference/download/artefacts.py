"""The published files that ODISE is made of: names, addresses, sizes, hashes, licences.

Sources: the README and model zoo of NVlabs/ODISE, `clip/clip.py` of openai/CLIP, and for the hash of Stable
Diffusion v1.3 eleven independent tables, which agree. Nobody of this project has seen the files themselves.
`None`, or the beginning of a hash, stands for what no source has.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum

from reference.errors import DownloadError

#: Where files of the Hub are, unless `HF_ENDPOINT` names a mirror.
HUB = "https://huggingface.co"
_DIGITS = 64


class Holder(Enum):
    """Who keeps such a file on the machines of those who use the official code. See `places`."""

    MODEL_ZOO = "the folder $ODISE_MODEL_ZOO"
    IOPATH = "the cache of iopath"
    CLIP = "the cache of CLIP"
    HUB = "the cache of the Hub"


@dataclass(frozen=True)
class Licence:
    """A licence to accept.

    Attributes:
        restriction: what it forbids or asks for, in one line. The text at `url` is what counts.
    """

    name: str
    url: str
    restriction: str


@dataclass(frozen=True)
class Artefact:
    """A published file.

    Attributes:
        name: what it is called here.
        file: name of the file.
        url: where it was published. `reference.download.hub.address` puts a mirror in place of the Hub.
        sha256: hash in hexadecimal digits: all 64, or the first ones if no more is known.
        bytes: size; None if it is not known.
        about: an estimate of the size in bytes, for people and for the first look at the free space.
        licence: of the file.
        page: page about the file, for people.
        holders: who may have fetched it already.
    """

    name: str
    file: str
    url: str
    sha256: str
    bytes: int | None
    about: int
    licence: Licence
    page: str
    holders: tuple[Holder, ...] = ()

    @property
    def is_hash_whole(self) -> bool:
        """Whether all digits of the hash are known."""
        return len(self.sha256) == _DIGITS

    def has_hash(self, sha256: str) -> bool:
        """Whether a file with this hash (64 digits) is this artefact, as far as its hash is known."""
        return sha256.startswith(self.sha256)

    @property
    def hash_in_words(self) -> str:
        """The hash for messages: "sha256 2cff...", or "sha256 that begins with b67d2efc"."""
        return f"sha256 {self.sha256}" if self.is_hash_whole else f"sha256 that begins with {self.sha256}"

    @property
    def size_in_words(self) -> str:
        """The size for messages: "934.1 MB", or "about 4.3 GB"."""
        return size_in_words(self.bytes) if self.bytes is not None else f"about {size_in_words(self.about)}"


def size_in_words(count: int) -> str:
    """Return a number of bytes as people read it."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"


CC_BY_NC_SA = Licence(
    "CC BY-NC-SA 4.0",
    "https://creativecommons.org/licenses/by-nc-sa/4.0/",
    "no commercial use; name the authors; pass changes on under the same licence",
)
OPENRAIL_M = Licence(
    "CreativeML OpenRAIL-M",
    "https://github.com/CompVis/stable-diffusion/blob/main/LICENSE",
    "the uses in its attachment A are forbidden, for everything derived from the file too",
)
MIT = Licence("MIT", "https://github.com/openai/CLIP/blob/main/LICENSE", "keep the copyright notice")

_RELEASE = "https://github.com/NVlabs/ODISE/releases/download/v1.0.0"
_CLIP_SHA256 = "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02"

_ALL = (
    # The end of each name is the beginning of the hash, says the official model zoo. The sizes are those of
    # the tensors in fp32; with the state of the optimizer it would be three times as much.
    Artefact(
        name="odise-label-release",
        file="odise_label_coco_50e-b67d2efc.pth",
        url=f"{_RELEASE}/odise_label_coco_50e-b67d2efc.pth",
        sha256="b67d2efc",
        bytes=None,
        about=112_000_000,
        licence=CC_BY_NC_SA,
        page="https://github.com/NVlabs/ODISE/releases/tag/v1.0.0",
        holders=(Holder.MODEL_ZOO, Holder.IOPATH),
    ),
    Artefact(
        name="odise-caption-release",
        file="odise_caption_coco_50e-853cc971.pth",
        url=f"{_RELEASE}/odise_caption_coco_50e-853cc971.pth",
        sha256="853cc971",
        bytes=None,
        about=112_000_000,
        licence=CC_BY_NC_SA,
        page="https://github.com/NVlabs/ODISE/releases/tag/v1.0.0",
        holders=(Holder.MODEL_ZOO, Holder.IOPATH),
    ),
    # The size is that of v1.4, which has the same tensors.
    Artefact(
        name="sd-v1-3",
        file="sd-v1-3.ckpt",
        url=f"{HUB}/CompVis/stable-diffusion-v-1-3-original/resolve/main/sd-v1-3.ckpt",
        sha256="2cff93af4dcc07c3e03110205988ff98481e86539c51a8098d4f2236e41f7f2f",
        bytes=None,
        about=4_265_000_000,
        licence=OPENRAIL_M,
        page=f"{HUB}/CompVis/stable-diffusion-v-1-3-original",
        holders=(Holder.MODEL_ZOO, Holder.IOPATH, Holder.HUB),
    ),
    Artefact(
        name="clip-vit-l-14-336",
        file="ViT-L-14-336px.pt",
        url=f"https://openaipublic.azureedge.net/clip/models/{_CLIP_SHA256}/ViT-L-14-336px.pt",
        sha256=_CLIP_SHA256,
        bytes=934_088_680,
        about=934_088_680,
        licence=MIT,
        page="https://github.com/openai/CLIP",
        holders=(Holder.CLIP,),
    ),
)

#: Name -> published file.
ARTEFACTS: dict[str, Artefact] = {artefact.name: artefact for artefact in _ALL}
#: Preset -> names of the files that it is made of: ODISE's own part, Stable Diffusion, CLIP.
OF_PRESET: dict[str, tuple[str, str, str]] = {
    "odise-label": ("odise-label-release", "sd-v1-3", "clip-vit-l-14-336"),
    "odise-caption": ("odise-caption-release", "sd-v1-3", "clip-vit-l-14-336"),
}


def artefacts_of(names: Iterable[str]) -> tuple[Artefact, ...]:
    """Return the artefacts that names of artefacts and presets stand for, each once.

    Raises:
        DownloadError: a name is neither.
    """
    found: dict[str, Artefact] = {}
    for name in names:
        if name not in ARTEFACTS and name not in OF_PRESET:
            known = (*OF_PRESET, *ARTEFACTS)
            close = get_close_matches(name.lower(), known, n=1)
            meant = f"did you mean {close[0]}? " if close else ""
            raise DownloadError(f"there is no published file {name!r}", f"{meant}files: {', '.join(known)}")
        found |= {one: ARTEFACTS[one] for one in OF_PRESET.get(name, (name,))}
    return tuple(found.values())

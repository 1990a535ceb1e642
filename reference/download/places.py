"""Where published files may lie on this machine already, and finding them there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from odise_trt.files.paths import expanded, kind_of, real_path
from reference.weights.place import weights_folder

from . import hub
from .artefacts import Artefact, Holder
from .checks import flaw
from .reporter import SILENT, Reporter


@dataclass(frozen=True)
class Search:
    """What a search for an artefact has found.

    Attributes:
        path: the file, verified; None if it is nowhere.
        flaws: path -> why this file has the name but is not the artefact.
    """

    path: Path | None
    flaws: dict[Path, str]


def find(artefact: Artefact, folder: Path | None = None, reporter: Reporter = SILENT) -> Path | None:
    """Find an artefact on this machine: in `folder`, then where the official code keeps it.

    A file counts only if its SHA-256 is right. The reporter is told about others; they are left alone.

    Args:
        folder: where files are fetched to. None: `weights_folder()`.

    Raises:
        OutputError: the default folder cannot be told, because no home is known.
    """
    return search(artefact, weights_folder() if folder is None else folder, reporter).path


def search(artefact: Artefact, folder: Path, reporter: Reporter = SILENT) -> Search:
    """Do what `find` does, and return the wrong files, too."""
    flaws: dict[Path, str] = {}
    seen: set[str] = set()
    for path in (folder / artefact.file, *official_places(artefact)):
        # A snapshot of the Hub's cache is a link to a blob.
        if not kind_of(path).is_file or (real := real_path(path)) in seen:
            continue
        seen.add(real)
        why = flaw(artefact, path, reporter)
        if why is None:
            return Search(path, flaws)
        flaws[path] = why
        reporter.note(f"{path} {why}: it is not used")
    return Search(None, flaws)


def official_places(artefact: Artefact) -> Iterator[Path]:
    """Yield the paths at which users of the official code may have the file, the likeliest first."""
    for holder in artefact.holders:
        yield from _PLACES[holder](artefact)


def _model_zoo(artefact: Artefact) -> Iterator[Path]:
    if zoo := os.environ.get("ODISE_MODEL_ZOO"):
        yield Path(expanded(zoo)) / artefact.file


def _iopath(artefact: Artefact) -> Iterator[Path]:
    """iopath keeps what it has fetched from a URL under the path of the URL."""
    cache = os.environ.get("FVCORE_CACHE") or "~/.torch/iopath_cache"
    yield Path(expanded(cache)) / urlsplit(artefact.url).path.lstrip("/")


def _clip(artefact: Artefact) -> Iterator[Path]:
    yield Path(expanded("~/.cache/clip")) / artefact.file


def _hub(artefact: Artefact) -> Iterator[Path]:
    """The Hub's client keeps files by their hash, and links to them in a folder per commit."""
    owner, name = urlsplit(artefact.url).path.strip("/").split("/")[:2]
    repository = hub.cache() / f"models--{owner}--{name}"
    yield from sorted(repository.glob(f"snapshots/*/{artefact.file}"))
    if artefact.is_hash_whole:
        yield repository / "blobs" / artefact.sha256


_PLACES = {Holder.MODEL_ZOO: _model_zoo, Holder.IOPATH: _iopath, Holder.CLIP: _clip, Holder.HUB: _hub}

"""Published files, found on this machine or fetched with consent."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from odise_trt.errors import OutputError, WeightsError
from odise_trt.files.writing import writing
from reference.alone import alone
from reference.errors import DownloadError

from . import hub
from .artefacts import Artefact, artefacts_of, size_in_words
from .checks import flaw, wrong_hash
from .consent import Consent, write_record
from .part_file import PartFile
from .places import search
from .refusals import by_hand
from .reporter import SILENT, Reporter
from .transfer import Patience, Transfer


def fetch(
    artefacts: Iterable[Artefact | str],
    folder: Path,
    consent: Consent,
    *,
    reporter: Reporter = SILENT,
    patience: Patience | None = None,
) -> dict[str, Path]:
    """Return the paths of published files by their names. What this machine does not have is fetched.

    A file that users of the official code have is used where it lies, once its SHA-256 was compared.

    Args:
        artefacts: what to fetch: artefacts, or names of artefacts and presets.
        folder: where it goes. `reference.weights.place.weights_folder()` is the usual one.
        consent: is asked once, before a byte is fetched, about all files to fetch. It is not called if every
            file is here.
        patience: timeouts and tries.

    Raises:
        DownloadError: a name is not known, a licence was not accepted, or a file could not be fetched. What
            came of it is kept, and the next call goes on from there.
        WeightsError: another file has the name of an artefact in `folder`.
        OutputError: `folder` cannot be written to, or the disk is full.
    """
    found: dict[str, Path | None] = {}
    missing: list[Artefact] = []
    for artefact in _each(artefacts):
        searched = search(artefact, folder, reporter)
        if searched.path is None:
            _refuse_other(artefact, folder, searched.flaws.get(folder / artefact.file))
            missing.append(artefact)
        else:
            reporter.note(f"{artefact.name} is here: {searched.path}")
        found[artefact.name] = searched.path
    if missing:
        if setting := hub.offline():
            raise _offline(missing, folder, setting)
        how = consent(missing)
        require_room(folder, sum(_to_come(artefact, folder) for artefact in missing))
        for artefact in missing:
            found[artefact.name] = _fetch(artefact, folder, how, reporter, patience or Patience())
    return {name: path for name, path in found.items() if path is not None}


def _each(artefacts: Iterable[Artefact | str]) -> list[Artefact]:
    chosen: dict[str, Artefact] = {}
    for one in artefacts:
        chosen |= {a.name: a for a in ((one,) if isinstance(one, Artefact) else artefacts_of([one]))}
    return list(chosen.values())


def _fetch(artefact: Artefact, folder: Path, how: str, reporter: Reporter, patience: Patience) -> Path:
    place = folder / artefact.file
    with alone(place, reporter.note, "download"):
        # Another process may have fetched it while this one waited.
        if place.is_file() and flaw(artefact, place, reporter) is None:
            return place
        url = hub.address(artefact)
        part = PartFile(place, url, reporter)
        after = f", after the {size_in_words(part.size)} that are here" if part.size else ""
        reporter.note(f"{artefact.name}: fetching it from {urlsplit(url).hostname}{after}")
        try:
            Transfer(artefact, url, part, patience, reporter, lambda count: require_room(folder, count)).run()
            _require_right(artefact, part, url)
        except DownloadError as error:
            kept = "\n  what was fetched is kept: the same command goes on from there" if part.size else ""
            hint = f"{error.hint}{kept}\n  {by_hand(artefact, place)}"
            raise DownloadError(error.message, hint) from error
        write_record(artefact, place, url, part.sha256, how)
        part.finish()
    reporter.note(f"{artefact.name} is fetched: {place}")
    return place


def _require_right(artefact: Artefact, part: PartFile, url: str) -> None:
    if not artefact.has_hash(part.sha256):
        found = part.sha256
        part.discard()
        raise DownloadError(
            f"what came from {url} {wrong_hash(artefact, found)}; it was removed",
            "run the command again: it begins from nothing. If the hash is the same then, the host has"
            " another file",
        )


def _refuse_other(artefact: Artefact, folder: Path, why: str | None) -> None:
    if why is not None:
        raise WeightsError(
            f"{folder / artefact.file} {why}", "move it away, or choose another folder with --output"
        )


def _offline(missing: Sequence[Artefact], folder: Path, setting: str) -> DownloadError:
    lines = "\n  ".join(by_hand(artefact, folder / artefact.file) for artefact in missing)
    names = ", ".join(artefact.name for artefact in missing)
    return DownloadError(
        f"{setting} forbids to fetch {names}", f"unset it where there is a network\n  {lines}"
    )


def _to_come(artefact: Artefact, folder: Path) -> int:
    """Estimate the bytes that are to be fetched, from the table and from what an earlier run has left."""
    try:
        there = (folder / f"{artefact.file}.part").stat().st_size
    except OSError:
        there = 0
    return max(0, (artefact.about if artefact.bytes is None else artefact.bytes) - there)


def require_room(folder: Path, count: int) -> None:
    """Raise OutputError unless a folder has room for this many bytes. It is made if it does not exist."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    if count > free:
        raise OutputError(
            f"{folder} has {size_in_words(free)} of free space, {size_in_words(count)} are to come",
            "make room, or choose another folder with --output",
        )

"""Stages that need not be built again: those of a build that was stopped, and those of the older bundle.

While a bundle NAME is built, the folder `.NAME.stages` beside it is a partial bundle with the stages that are
finished. The next build takes over those whose key (`export.stage_key`) it wants and whose files have their
SHA-256. The folder goes when the bundle is in its place. Its files are hard links where the file system has
them, so they take no room of their own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from odise_trt.bundle import Bundle
from odise_trt.bundle.bundle import Verify
from odise_trt.bundle.manifest import MANIFEST, Manifest, StageEntry
from odise_trt.bundle.place import real_place
from odise_trt.bundle.stopped_builds import FINISHED
from odise_trt.files.writing import writing


def finished_folder(bundle: Path) -> Path:
    """Return the folder of the finished stages of a bundle that is being built."""
    place = real_place(bundle)
    return place.with_name(f".{place.name}{FINISHED}")


def clear_finished(bundle: Path) -> None:
    """Remove the finished stages of a bundle. Only for use inside `exclusively`."""
    shutil.rmtree(finished_folder(bundle), ignore_errors=True)


def keep_finished(bundle: Path, folder: Path, manifest: Manifest) -> None:
    """Keep stages for the next build, in case this one does not end well.

    Args:
        bundle: the place of the bundle that is being built.
        folder: the unfinished bundle, with the files that `manifest` names.
        manifest: the finished stages.

    Raises:
        OutputError: the disk is full, or the like.
    """
    place = finished_folder(bundle)
    with writing(place):
        place.mkdir(exist_ok=True)
        # A file that the older manifest names may be replaced here: its SHA-256 tells.
        for name in manifest.files:
            _link(folder / name, place / name)
        manifest.write(place)
        for left in set(os.listdir(place)) - {MANIFEST, *manifest.files}:
            (place / left).unlink()


def usable(
    donor: Bundle, keys: Mapping[str, str], hashes: Mapping[str, str], verify: Verify = "full"
) -> tuple[StageEntry, ...]:
    """Return the stages of a bundle that another build can take over.

    A stage is usable if it has the wanted key, all its files are intact, and the weights that it reads from
    the files of other stages come with them.

    Args:
        donor: the bundle.
        keys: name of a stage -> the key that is wanted.
        hashes: file name -> SHA-256 of the files that the other build has already.
        verify: see `Bundle.open`.
    """
    entries = {
        entry.spec.name: entry
        for entry in donor.manifest.stages
        if entry.key is not None and keys.get(entry.spec.name) == entry.key
    }
    for name in donor.stages_of(donor.damage(tuple(entries), verify)):
        entries.pop(name, None)
    theirs = {name: str(facts["sha256"]) for name, facts in donor.manifest.files.items()}
    while True:
        own = {file: theirs[file] for entry in entries.values() for file in _own(entry)}
        there = {**own, **hashes}
        lacking = [
            name for name, entry in entries.items() if any(there.get(f) != theirs[f] for f in entry.files)
        ]
        if not lacking:
            return tuple(entries.values())
        for name in lacking:
            del entries[name]


def _own(entry: StageEntry) -> Iterable[str]:
    """Yield the files of a stage that no other stage has made."""
    return (file for file in entry.files if file.startswith(f"{entry.spec.name}."))


def _link(source: Path, target: Path) -> None:
    if target.exists():
        if target.samefile(source):
            return
        target.unlink()
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)

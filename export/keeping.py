"""Stages that a build takes from the older bundle, or from a build that was stopped."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from odise_trt.bundle import Bundle
from odise_trt.bundle.manifest import StageEntry
from odise_trt.errors import BundleError
from reference.checkpoint import WeightsDescription

from .finished import clear_finished, finished_folder, usable
from .plan import Request, existing
from .unfinished import Unfinished


def keep(bundle: Unfinished, request: Request, weights: WeightsDescription) -> tuple[str, ...]:
    """Take the stages that need not be built: those not requested, and those that are as requested already.

    The latter come from a build that was stopped, or from the older bundle.

    Returns:
        The requested stages that were taken over.

    Raises:
        BundleError: a stage that is not requested differs from what was built. A new hash in the manifest
            would hide the damage.
    """
    target, asked = bundle.target, request.stage_names()
    if manifest := existing(target, request, weights):
        _keep_others(bundle, Bundle(target.folder, manifest), asked)
    others = set(bundle.entries)
    if request.force:
        clear_finished(target.folder)
        return ()
    for folder in (finished_folder(target.folder), target.folder):
        if manifest := existing(target, request, weights, folder):
            wanted = {name: key for name, key in bundle.keys.items() if name not in bundle.entries}
            donor = Bundle(folder, manifest)
            _adopt(bundle, donor, usable(donor, wanted, bundle.hashes))
    return tuple(name for name in asked if name in bundle.entries and name not in others)


def _keep_others(bundle: Unfinished, old: Bundle, asked: Collection[str]) -> None:
    kept = [entry for entry in old.manifest.stages if entry.spec.name not in asked]
    if damage := old.damage(entry.spec.name for entry in kept):
        options = " ".join(f"--stage {name}" for name in old.stages_of(damage))
        raise BundleError("\n".join(damage.values()), f"it would be kept: build it again too, add {options}")
    _adopt(bundle, old, kept)
    if kept:
        bundle.tools = _joined(bundle.tools, old.manifest.tools)


def _adopt(bundle: Unfinished, donor: Bundle, entries: Sequence[StageEntry]) -> None:
    """Take stages of a bundle, with their comparisons as they are on record."""
    for file in dict.fromkeys(file for entry in entries for file in entry.files):
        if file not in bundle.hashes:
            bundle.writer.adopt(donor.folder / file)
            bundle.hashes[file] = str(donor.manifest.files[file]["sha256"])
    for entry in entries:
        if bundle.target.builder is None:
            bundle.weights.know(bundle.writer.folder / entry.file)
        elif entry.weights_from is not None:
            bundle.weights.know(bundle.writer.folder / entry.weights_from)
        bundle.entries[entry.spec.name] = entry
        found = donor.manifest.precision_map.get(entry.spec.name, {})
        if entry.precision is None and "layers" in found:
            bundle.precision_maps[entry.spec.name] = found
        bundle.rows += [row for row in donor.manifest.parity if row.stage == entry.spec.name]


def _joined(new: Mapping[str, str], old: Mapping[str, str]) -> dict[str, str]:
    """Join the tools of both builds. If they differ, the bundle is not up to date for either build."""
    names = dict.fromkeys([*new, *old])
    values = {name: dict.fromkeys(tools[name] for tools in (old, new) if name in tools) for name in names}
    return {name: " and ".join(value) for name, value in values.items()}

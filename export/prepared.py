"""A request that was checked, with everything that is known before the work begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reference.checkpoint import WeightsDescription, describe_weights
from reference.preset import Preset

from .options import check
from .plan import Request, Target, existing, plan
from .shared_weights import readers
from .stages import OPTIONAL_STAGES


@dataclass(frozen=True)
class Prepared:
    """A request that can be met.

    Attributes:
        request: with the stages that have to be built besides those that were asked for.
    """

    request: Request
    preset: Preset
    weights: WeightsDescription
    targets: tuple[Target, ...]


def prepare(request: Request) -> Prepared:
    """Check a request, and find out what it means here. No weights are loaded.

    Raises:
        PresetError, ExportError, WeightsError, BackendError, OutputError: it cannot be met.
    """
    preset = check(request)
    weights = describe_weights(preset, request.weights)
    targets = plan(request)
    request = _with_readers(_with_optional_stages(request, targets, weights), targets, weights)
    return Prepared(request, preset, weights, targets)


def _with_optional_stages(
    request: Request, targets: Sequence[Target], weights: WeightsDescription
) -> Request:
    """Add the optional stages of older bundles to a request for all stages."""
    if request.stages:
        return request
    manifests = [existing(target, request, weights) for target in targets]
    have = {entry.spec.name for manifest in manifests if manifest for entry in manifest.stages}
    return replace(request, extra=tuple(n for n in OPTIONAL_STAGES if n in have or n in request.extra))


def _with_readers(request: Request, targets: Sequence[Target], weights: WeightsDescription) -> Request:
    """Add the stages of older bundles that read weights from the files of the requested ones."""
    asked = request.stage_names()
    found: set[str] = set()
    for target in targets:
        if manifest := existing(target, request, weights):
            found |= readers([(entry.spec.name, entry.files) for entry in manifest.stages], asked)
    return replace(request, stages=(*asked, *sorted(found)), extra=()) if found else request

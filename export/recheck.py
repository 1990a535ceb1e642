"""Repeats the checks of a bundle: hashes of its files, and parity of its engines with the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from odise_trt.backends import open_backend
from odise_trt.backends.engine_mismatch import has_host_code
from odise_trt.bundle import Bundle
from odise_trt.bundle.manifest import Parity, StageEntry
from odise_trt.errors import BackendError, ExportError, WeightsError
from reference.checkpoint import describe_weights
from reference.names import require_known
from reference.on_demand import open_model

from .cases import compare, holding_stages
from .parity import sizes_to_check
from .plan import MAX_WINDOWS, built_for
from .report import Exhibits, write_report
from .report.scene import can_draw, draw_scene
from .reporter import Reporter
from .stages import all_stages

if TYPE_CHECKING:
    from odise_trt.backends.base import Backend
    from reference.model import ODISE

_HASHES_ONLY = "--no-parity compares the hashes only"


def recheck(
    folder: Path,
    reporter: Reporter,
    *,
    weights: str | None = None,
    stages: Sequence[str] = (),
    parity_limits: Mapping[str, int] | None = None,
    parity: bool = True,
    report: Path | None = None,
) -> tuple[Parity, ...]:
    """Compare the files of a bundle with their hashes, and its engines with the reference.

    The engines run as the runtime runs them, on the device that they are for. A build cannot always do that:
    for TensorRT it compares the graph.

    Args:
        folder: a bundle.
        reporter: is told about every stage.
        weights: the weights that it was built from, as for a build. None: those that the manifest names.
        stages: only these. Empty: all.
        parity_limits: upper bounds of axes, if memory is short.
        parity: False: compare the hashes only.
        report: write the comparisons as an HTML page, also those that missed.

    Returns:
        Every comparison, also those that missed. `export.parity.require` raises for these.

    Raises:
        BundleError: the folder is no bundle, or a file is missing or was changed.
        WeightsError: the weights are not here, or are not those of the bundle.
        BackendError: the engines do not run on this machine.
        ExportError: there is no such stage, or this version of the code declares it in another way.
        OutputError: the page cannot be written.
    """
    bundle = Bundle.open(folder)
    manifest = bundle.manifest
    have = {entry.spec.name: entry for entry in manifest.stages}
    for name in stages:
        require_known(name, have, "stage", ExportError)
    chosen = [entry for name, entry in have.items() if name in stages or not stages]
    reporter.begin(1 + parity * (1 + len(chosen)) + (report is not None))
    reporter.step("comparing files with their hashes")
    reporter.note(f"all {len(manifest.files)} files are as built")
    if not parity:
        return ()
    source = weights_of(bundle, weights)
    name, host_code = str(manifest.backend["name"]), has_host_code(manifest.backend)
    with closing(open_backend(name, precision=manifest.precision, host_code=host_code)) as backend:
        if (why := backend.mismatch(manifest.backend)) is not None:
            raise BackendError(
                f"the engines of {folder} do not run here: {why}",
                f"check them on the machine that they are for; {_HASHES_ONLY}",
            )
        reporter.step(f"loading weights {source}")
        model = open_model(manifest.preset, source)
        rows: list[Parity] = []
        exhibits = None if report is None else Exhibits()
        for entry in chosen:
            reporter.step(f"{entry.spec.name}: comparing with the reference")
            rows += _compare(bundle, backend, entry, model, parity_limits, exhibits)
    if report is not None and exhibits is not None:
        reporter.step(f"writing {report}")
        scene = draw_scene(model, folder) if can_draw(model, folder) else ()
        write_report(report, rows, f"{folder} on this machine", exhibits.all(), scene)
    return tuple(rows)


def weights_of(bundle: Bundle, weights: str | None) -> str:
    """Return where the weights of a bundle are, after a look at their hash."""
    built_from = bundle.manifest.weights
    source = str(built_from.get("source")) if weights is None else weights
    try:
        found = describe_weights(bundle.manifest.preset, source)
    except WeightsError as error:
        raise WeightsError(
            f"parity needs the weights that the bundle was built from: {error.message}",
            f"give them with --weights; {_HASHES_ONLY}",
        ) from error
    if found["sha256"] != built_from.get("sha256"):
        raise WeightsError(
            f"{source} has other weights than the bundle was built from"
            f" (sha256 {found['sha256'][:12]}..., not {str(built_from.get('sha256'))[:12]}...)",
            f"give those with --weights; {_HASHES_ONLY}",
        )
    return source


def _compare(
    bundle: Bundle,
    backend: Backend,
    entry: StageEntry,
    model: ODISE,
    limits: Mapping[str, int] | None,
    exhibits: Exhibits | None,
) -> tuple[Parity, ...]:
    manifest, name = bundle.manifest, entry.spec.name
    precision = entry.precision or manifest.precision
    wrapper = all_stages().get(name)
    limit, images = manifest.tools.get(MAX_WINDOWS, ""), built_for(manifest)
    windows = int(limit) if limit.isdecimal() else None
    if wrapper is None or wrapper.spec(model.preset, precision, windows, images) != entry.spec:
        raise ExportError(
            f"this version of the code declares stage {name} in another way than the bundle",
            f"check it with the version that built it, or build it again; {_HASHES_ONLY}",
        )
    stage = wrapper(model).eval()
    sizes = sizes_to_check(wrapper, model.preset, entry.spec, images, limits)
    look = None if exhibits is None else exhibits.look
    with holding_stages(model, [name]), closing(backend.open_stage(bundle.folder, entry)) as engine:

        def run(inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
            return list(engine.run(inputs).values())

        check = str(manifest.backend["name"])
        return compare(run, stage, model, entry.spec, sizes, precision, check, look)

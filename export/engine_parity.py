"""Parity of the engines that were just built, on machines that run them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from odise_trt.backends.engine_mismatch import has_host_code
from odise_trt.bundle.manifest import Parity

from .cases import compare
from .checked_export import CheckedExport
from .graph_runner import runner
from .onnx_export import OnnxFile
from .parity import sizes_to_check
from .plan import Request, Target
from .report import Exhibits
from .report.missed import require_or_report
from .stages import all_stages

if TYPE_CHECKING:
    from reference.model import ODISE


def check_engine(
    engine: Path,
    exported: CheckedExport,
    target: Target,
    model: ODISE,
    request: Request,
    weights_from: str | None = None,
) -> tuple[Parity, ...]:
    """Compare an engine with the reference, on the same inputs as its graph was.

    Args:
        weights_from: the graph beside it that has its weights, if it has none.

    Raises:
        ParityError: it is further away than its tolerance. The output folder then has a report.
        ExportError: it does not run, or an output has another shape or dtype than declared.
        BackendError: it does not open.
    """
    spec, precision = exported.spec, exported.precision
    wrapper = all_stages()[spec.name]
    stage = wrapper(model).eval()
    sizes = sizes_to_check(wrapper, model.preset, spec, request.image_sizes, request.parity_limits)
    exhibits = Exhibits()
    file = OnnxFile(engine, (engine,), {})
    host_code = has_host_code(target.backend)
    with runner(file, spec, precision, target.name, weights_from, host_code) as run:
        rows = compare(run, stage, model, spec, sizes, precision, target.name, exhibits.look)
    page = request.output / f"{target.folder.name}-{spec.name}.parity.html"
    require_or_report(rows, page, f"{target.folder.name}, {spec.name}", exhibits)
    return rows

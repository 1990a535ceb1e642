"""Stages exported and compared with the reference, one after the other or in several processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from odise_trt.errors import ParityError
from odise_trt.manifest import Parity
from odise_trt.stage import StageSpec
from reference.checkpoint import load_weights

from .measure import Measure
from .onnx_export import OnnxFile, export_stage
from .parity import SEED, check_onnx, check_sizes, reference_case, require
from .parity_report import write_report
from .recipe import Request
from .stages import STAGES

if TYPE_CHECKING:
    from reference.model import ODISE

#: A stage and a precision.
Task = tuple[str, str]


@dataclass(frozen=True)
class CheckedExport:
    """A stage's graph that agrees with the reference; engines of several backends can be made from it.

    Attributes:
        spec: the declaration at `precision`.
        rows: every comparison made.
        seconds, peak_bytes: what exporting and comparing took.
    """

    spec: StageSpec
    precision: str
    graph: OnnxFile
    rows: tuple[Parity, ...]
    seconds: float
    peak_bytes: int

    @property
    def worst(self) -> Parity:
        """The comparison that came closest to its tolerance."""
        return max(self.rows, key=lambda row: row.relative_l2 / row.tolerance)


def load_model(request: Request) -> ODISE:
    """The reference, with deformable attention lowered as asked.

    Raises:
        WeightsError: as `reference.checkpoint.load_weights`.
    """
    model = load_weights(request.preset, request.weights)
    model.mask_head.use_lowering(request.sampling)
    return model


def export_checked(model: ODISE, task: Task, request: Request, work: Path) -> CheckedExport:
    """Export one stage at one precision into a folder of its own under `work`, and compare it.

    Raises:
        ExportError: it cannot be exported, is not what it declares, or the model is ablated.
        ParityError: it is further from the reference than its tolerance; a report of the comparison is
            left in the output folder.
    """
    model.preset.ablation.refuse_export()
    name, precision = task
    wrapper = STAGES[name]
    stage, spec = wrapper(model).eval(), wrapper.declare(model.preset).at(precision)
    rows: list[Parity] = []
    with Measure() as measure:
        graph = export_stage(stage, spec, work / precision / name, precision=precision, opset=request.opset)
        for sizes in check_sizes(spec, request.parity_limits):
            cases = [reference_case(stage, model, spec, sizes, SEED + n) for n in range(stage.scenes)]
            rows += check_onnx(graph.path, spec, cases, precision)
    try:
        require(rows)
    except ParityError as error:
        report = request.output / f"{request.preset}-{precision}-{name}.parity.html"
        write_report(report, rows, f"{request.preset}, {name}, {precision} (not installed)")
        raise ParityError(f"{error.message}\n  the whole table: {report}", error.hint) from error
    return CheckedExport(spec, precision, graph, tuple(rows), measure.seconds, measure.peak_bytes)


def export_all(model: ODISE, tasks: Sequence[Task], request: Request, work: Path) -> Generator[CheckedExport]:
    """`export_checked` of all tasks, in their order, in `request.jobs` processes.

    Tracing runs on one core whatever the machine has, so more processes are what makes it faster; each
    holds a model of its own.
    """
    if request.jobs == 1:
        for task in tasks:
            yield export_checked(model, task, request, work)
        return
    # Forking a process that has used torch's threads can hang its children.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(request.jobs, context, _start_worker, (request,)) as pool:
        try:
            yield from pool.map(_export_in_worker, tasks, repeat(request), repeat(work))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


_model: ODISE | None = None


def _start_worker(request: Request) -> None:
    global _model
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // request.jobs))
    _model = load_model(request)


def _export_in_worker(task: Task, request: Request, work: Path) -> CheckedExport:
    assert _model is not None
    return export_checked(_model, task, request, work)

"""Small graphs that engines were known to run wrong without an error. They are tried before any stage.

A miss costs seconds here. In a stage it would be found by parity, after minutes, and without its cause.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor as Array
from torch import nn
from torch.nn import functional as F

from odise_trt.backends.engine_mismatch import has_host_code
from odise_trt.errors import ParityError
from odise_trt.stage_spec import COMPUTE, Axis, Profile, StageSpec, Tensor

from .cases import compare
from .graph_runner import runner
from .onnx_export import OnnxFile, export_stage
from .parity import check_sizes, describe
from .plan import Target
from .reporter import Reporter
from .stages import StageWrapper

if TYPE_CHECKING:
    from reference.preset import Preset

_WINDOWS = Axis("windows", 1, 2, 4)
_SIDE = 32


class Canary(StageWrapper):
    """A graph with one part that has been wrong somewhere.

    Attributes:
        name: of the graph.
        shape: of its input and its output, without the windows.
        what: the part, for messages.
        source: where it was reported.
    """

    name: ClassVar[str]
    shape: ClassVar[tuple[int, ...]]
    what: ClassVar[str]
    source: ClassVar[str]

    def __init__(self, model: Any = None) -> None:
        super().__init__(model)

    @classmethod
    def declare(cls, preset: Preset | None = None) -> StageSpec:
        """See `StageWrapper.declare`."""
        return StageSpec(
            name=cls.name,
            inputs=(Tensor("x", COMPUTE, ("windows", *cls.shape)),),
            outputs=(Tensor("y", COMPUTE, ("windows", *cls.shape)),),
            axes=(_WINDOWS,),
            profiles=(Profile("windows", {"windows": (1, 2, 4)}),),
        )

    @classmethod
    def examples(cls, model: Any, sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Array, ...]:
        """Random numbers with an offset: windows differ, and sums of squares are large."""
        numbers = torch.randn(sizes["windows"], *cls.shape, generator=generator)
        return (numbers * 4 + torch.arange(sizes["windows"]).view(-1, *[1] * len(cls.shape)),)


class OneGroup(Canary):
    """All channels as one group. The sum of squares is beyond the largest half-precision number."""

    name, shape = "one_group_norm", (64, _SIDE, _SIDE)
    what = "a GroupNormalization with one group"
    source = "https://github.com/NVIDIA/TensorRT/issues/4355"

    def __init__(self, model: Any = None) -> None:
        super().__init__(model)
        self.norm = nn.GroupNorm(1, self.shape[0])

    def forward(self, x: Array) -> Array:
        """See the class."""
        return self.norm(x)


class WideAttention(Canary):
    """One head of 512 channels over several windows, as in the middle of the VAE."""

    name, shape = "wide_attention", (1, 64, 512)
    what = "attention with one head of 512 channels, for several windows"
    source = "https://github.com/NVIDIA/TensorRT/issues/4837 and /4853"

    def forward(self, x: Array) -> Array:
        """See the class."""
        return F.scaled_dot_product_attention(x / 4, x / 4, x)


class Sampled(Canary):
    """Bilinear samples at half a pixel, outside the border as well."""

    name, shape = "grid_sample", (8, _SIDE, _SIDE)
    what = "GridSample"
    source = "https://github.com/NVIDIA/TensorRT/issues/4813"

    def forward(self, x: Array) -> Array:
        """See the class."""
        line = torch.linspace(-1.2, 1.2, _SIDE)
        grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)
        grid = grid.expand(x.shape[0], *grid.shape)
        return F.grid_sample(x.float(), grid, align_corners=False).to(x.dtype)


def canaries(sampling: str) -> tuple[type[Canary], ...]:
    """Return the canaries of a build, by how its deformable attention samples."""
    return (OneGroup, WideAttention, *([Sampled] if sampling == "grid_sample" else []))


def require_canaries(target: Target, opset: int, folder: Path, reporter: Reporter) -> None:
    """Build and run the canaries of a target, as its stages will be built and run on this machine.

    Args:
        target: its engines run on this machine.
        opset: of its graphs.
        folder: for files that nobody needs afterwards.
        reporter: is told what was tried.

    Raises:
        ParityError: one gives other numbers than the reference.
        ExportError, BackendError: one does not build, or does not run.
    """
    tried = canaries(target.sampling)
    for canary in tried:
        precision = canary.computes_in(target.precision)
        stage, spec = canary(None).eval(), canary.declare().at(precision)
        graph = export_stage(
            copy.deepcopy(stage),
            spec,
            folder / target.folder.name / canary.name,
            precision=precision,
            opset=opset,
            lacks=target.entry.lacks,
            fuses=target.entry.fuses,
        )
        weights_from = None
        if target.builder is not None:
            weights_from = graph.path.name if target.builder.strips_weights else None
            engine = graph.path.with_suffix(target.entry.suffix)
            target.builder.build(spec, graph.path, engine, reporter.phase)
            graph = OnnxFile(engine, (engine,), {})
        host_code = has_host_code(target.backend)
        with runner(graph, spec, precision, target.name, weights_from, host_code) as run:
            rows = compare(
                run,
                stage,
                None,  # type: ignore[arg-type]
                spec,
                check_sizes(spec),
                precision,
                target.name,
            )
        if missed := [row for row in rows if not row.passed]:
            worst = max(missed, key=lambda row: row.relative_l2)
            raise ParityError(
                f"{target.name} runs {canary.what} wrong on this machine: relative L2"
                f" {worst.relative_l2:.2e} at {describe(worst.sizes)}, tolerance {worst.tolerance:.0e}"
                f" ({canary.source})",
                "nothing was built; use another version of it, or --precision fp32",
            )
    reporter.note(f"{target.name}: right where engines were wrong: {', '.join(one.what for one in tried)}")

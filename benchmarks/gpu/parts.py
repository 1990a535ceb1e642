"""The parts of the measurement, each declared once, the most important first."""

from __future__ import annotations

from dataclasses import dataclass

from odise_trt.backends.registry import BACKENDS

#: The stages that every picture needs, ordered by cost.
STAGES = ("features", "captioner", "clip_pool", "mask_head")
#: The part that says which card it is. The others are compared with its answer.
PROBE = "probe"


@dataclass(frozen=True)
class Part:
    """A part.

    Attributes:
        name: name of its file, without the suffix.
        section: section of the summary that its numbers go to. Several parts can share one.
        limit: seconds after which it is ended.
        runs: "module:function" that is called with a `Bench` and the arguments, and yields (key, numbers).
        arguments: further arguments.
        environment: variables of the environment that its process has, as pairs.
    """

    name: str
    section: str
    limit: float
    runs: str
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


_SECTIONS = "benchmarks.gpu.sections"
_WATERFALL = f"{_SECTIONS}:waterfall"
_VARIANT = "benchmarks.gpu.variants:variant"
_CATEGORIES = "benchmarks.gpu.categories:categories"
#: As many as COCO has; the most that eight rows are taken with at once; the most that engines take.
_COUNTS = ("133", "2048", "20000")
#: cuBLAS has a workspace per handle, and every stage has handles of its own.
_SMALL_WORKSPACE = (("CUBLAS_WORKSPACE_CONFIG", ":4096:1"),)

#: Every part. A part must fit into a call of the command, nine minutes by default.
PARTS = (
    Part(PROBE, "probe", 90, "benchmarks.gpu.probe:probe"),
    Part("runtime", "runtime", 300, "benchmarks.gpu.runtime:runtime"),
    Part("stages", "stages", 300, "benchmarks.gpu.stages:stages"),
    Part("kernels", "kernels", 400, "benchmarks.gpu.kernels:kernels"),
    *(Part(f"memory-{most}", "memory", 240, _VARIANT, (most,)) for most in ("most", "4", "2", "1")),
    Part("memory-workspace", "memory", 240, _VARIANT, ("most",), _SMALL_WORKSPACE),
    *(Part(f"categories-{count}", "categories", 240, _CATEGORIES, (count,)) for count in _COUNTS),
    Part("floor", "floor", 240, f"{_SECTIONS}:floor"),
    Part("official", "waterfall", 300, _WATERFALL, ("official",)),
    Part("pruned", "waterfall", 300, _WATERFALL, ("pruned",)),
    Part("half", "waterfall", 400, _WATERFALL, ("half",)),
    Part("parity", "parity", 480, "benchmarks.gpu.parity:parity"),
    Part("growth", "growth", 300, f"{_SECTIONS}:growth"),
    *(
        Part(f"{backend}-{stage}", "engines", 480, "benchmarks.gpu.engines:engine", (backend, stage))
        for backend in BACKENDS
        for stage in STAGES
    ),
    Part("compiled", "waterfall", 480, f"{_SECTIONS}:compiled"),
)

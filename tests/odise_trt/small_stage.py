"""The declaration of a stage of float32 tensors, for tests of the pipeline."""

from __future__ import annotations

from odise_trt.stage_spec import Axis, StageSpec, Tensor


def spec(name: str, inputs: dict[str, tuple], outputs: dict[str, tuple]) -> StageSpec:
    """Declare a stage. Its axes go from 1 to 1000."""
    axes = {d for shape in (*inputs.values(), *outputs.values()) for d in shape if isinstance(d, str)}
    return StageSpec(
        name,
        tuple(Tensor(n, "float32", shape) for n, shape in inputs.items()),
        tuple(Tensor(n, "float32", shape) for n, shape in outputs.items()),
        tuple(Axis(axis, 1, 8, 1000) for axis in sorted(axes)),
        (),
    )

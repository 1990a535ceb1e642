"""Compares an exported stage with the fp32 reference: the same inputs, output by output.

The reference runs in PyTorch in float32. `export.graph_runner` runs the graph. A stage is checked at the
smallest and the largest batch it declares and at more than one image size, because engines have been wrong at
one batch size and right at the next.

Some stages make hard decisions: the sign of a mask logit decides whether a pixel gets attention. For a logit
close to zero, rounding can make reference and graph decide differently. Their results for that scene then
differ by more than rounding. So an output that is too far away is measured against such turns: the reference
runs twice more, with all logits raised and lowered by their rounding (`StageWrapper.turned`). Where one of
these is what the graph gives, or the reference itself jumps by as much as the graph is away, a tie explains
it. `tests.check_golden` judges outputs of the official code in the same way.

Integers are not a little off: a pixel has this segment or another. So the elements that differ are counted,
and there may be none, except where the stage itself says that rounding decides: two queries whose products
are equal to the fifth digit, a logit next to 0 (`StageWrapper.undecided`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from odise_trt.bundle.manifest import Parity
from odise_trt.errors import ExportError, ParityError
from odise_trt.stage_spec import StageSpec, Tensor
from reference.preset import Preset

from .graph_runner import ONNX, Runner
from .stages import StageWrapper
from .stages.image_sizes import ImageSize, check_sizes_of

if TYPE_CHECKING:
    from reference.model import ODISE

SEED = 20230304
#: More undecided elements than this share, and a comparison would say little.
_MOST_UNDECIDED = 0.01
#: Hint for reference outputs that are NaN or infinite.
CHECK_WEIGHTS = "check the weights: a training that diverged, or a conversion, may have spoilt them"
#: What to do about a stage that is too far from the reference.
_HINT = "nothing was installed; try --precision fp32, another --opset or the other --sampling"
#: Rounding of what is decided on, as a part of the tolerance: 4e-5 in fp32.
_ROUNDING = 0.4
#: Turned decisions may add up: an output may be this many times further away than the reference jumps.
_TURNS = 2.0
Arrays = tuple[np.ndarray, ...]
#: Called with a comparison, the declaration of the output, the output, that of the reference, and where
#: rounding decides, while the arrays are there.
Look = Callable[[Parity, Tensor, np.ndarray, np.ndarray, np.ndarray | None], None]


@dataclass(frozen=True)
class Case:
    """Inputs of a stage and the outputs of the reference, in the order of the declaration.

    Attributes:
        undecided: integer output -> bool, where rounding decides, see `StageWrapper.undecided`.
    """

    sizes: Mapping[str, int]
    inputs: Arrays
    outputs: Arrays
    undecided: Mapping[str, np.ndarray] = field(default_factory=dict)


#: Called with a case and a rounding. Returns the reference's outputs with all its decisions turned.
Turned = Callable[[Case, float], Sequence[Arrays]]


def check_sizes(spec: StageSpec, largest: Mapping[str, int] | None = None) -> tuple[dict[str, int], ...]:
    """Return the axis sizes at which a stage is checked.

    Axes with a multiple are sides of images, the others are batches. The sizes are: the smallest, the typical
    and the largest batch at the typical image size, the typical image of every profile, and the smallest size
    of every axis.

    Args:
        spec: the declaration.
        largest: upper bounds for some axes, if memory does not hold the largest batch.
    """
    bound = {axis.name: min(axis.maximum, (largest or {}).get(axis.name, axis.maximum)) for axis in spec.axes}
    sides = [axis.name for axis in spec.axes if axis.multiple > 1]
    batches = [axis for axis in spec.axes if axis.multiple == 1]
    usual = {axis.name: min(axis.typical, bound[axis.name]) for axis in spec.axes}
    few = {axis.name: axis.minimum for axis in batches}
    many = {axis.name: bound[axis.name] for axis in batches}
    cases = [usual | few, usual, usual | many]
    for profile in spec.profiles:
        image = {name: min(profile.ranges[name][1], bound[name]) for name in sides if name in profile.ranges}
        cases.append(usual | few | image)
    if not _fixed(spec, sides):
        cases.append({axis.name: axis.minimum for axis in spec.axes})
    return tuple(dict(items) for items in dict.fromkeys(tuple(sorted(case.items())) for case in cases))


def _fixed(spec: StageSpec, sides: Iterable[str]) -> bool:
    """Whether every profile holds the sides of images at one size: then no others are taken."""
    ranges = [profile.ranges[name] for profile in spec.profiles for name in sides if name in profile.ranges]
    return bool(ranges) and all(least == most for least, _, most in ranges)


def sizes_to_check(
    wrapper: type[StageWrapper],
    preset: Preset,
    spec: StageSpec,
    images: Sequence[ImageSize] = (),
    largest: Mapping[str, int] | None = None,
) -> tuple[Mapping[str, int], ...]:
    """Return the axis sizes at which a stage of a build is checked.

    Args:
        spec: its declaration in the build.
        images: the only sizes of pictures, if the build is for some only.
        largest: as for `check_sizes`.
    """
    if usual := wrapper.sizes(preset):
        return check_sizes_of(spec, preset, images, usual)
    return check_sizes(spec, largest)


def example_inputs(
    stage: StageWrapper, model: ODISE, spec: StageSpec, sizes: Mapping[str, int], seed: int = SEED
) -> tuple[torch.Tensor, ...]:
    """Make seeded example inputs of `sizes`, in the dtypes that the graph takes.

    Raises:
        ExportError: they do not fit the declaration.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        inputs = tuple(
            example.to(getattr(torch, tensor.dtype))
            for tensor, example in zip(spec.inputs, stage.examples(model, sizes, generator), strict=True)
        )
    _require_shapes(spec.inputs, [x.numpy() for x in inputs], sizes, f"example inputs of stage {spec.name}")
    return inputs


def reference_case(
    stage: StageWrapper, spec: StageSpec, sizes: Mapping[str, int], inputs: Sequence[torch.Tensor]
) -> Case:
    """Run the reference on example inputs of `sizes`.

    Inputs that the graph takes in half precision were rounded to it before the reference reads them. The
    comparison then measures the graph, not the rounding of its input.

    Raises:
        ExportError: the results do not fit the declaration, or the reference is not finite.
    """
    with torch.inference_mode():
        given = tuple(x.float() if x.is_floating_point() else x for x in inputs)
        results = stage(*given)
        undecided = {name: where.numpy() for name, where in stage.undecided(*given).items()}
    outputs = results if isinstance(results, tuple) else (results,)
    case = Case(dict(sizes), tuple(x.numpy() for x in inputs), tuple(x.numpy() for x in outputs), undecided)
    _require_shapes(spec.outputs, case.outputs, sizes, f"reference outputs of stage {spec.name}")
    for name, where in undecided.items():
        # One element is never too many: a result can have no more than one.
        if np.count_nonzero(where) > max(1, _MOST_UNDECIDED * where.size):
            raise ExportError(
                f"rounding decides {where.mean():.1%} of {name} at {describe(sizes)}",
                f"make examples of stage {spec.name} that decide more",
            )
    for tensor, output in zip(spec.outputs, case.outputs, strict=True):
        if not np.isfinite(output).all():
            raise ExportError(
                f"the reference's {tensor.name} is not finite at {describe(sizes)}", CHECK_WEIGHTS
            )
    return case


def check_onnx(
    run: Runner,
    spec: StageSpec,
    cases: Sequence[Case],
    precision: str,
    check: str = ONNX,
    look: Look | None = None,
    turned: Turned | None = None,
) -> tuple[Parity, ...]:
    """Run a graph and compare it with the reference. A miss raises no error.

    Args:
        run: runs the graph, as from `export.graph_runner.runner`.
        spec: the declaration.
        cases: inputs and outputs of the reference.
        precision: the precision that the graph computes in, which decides the tolerance.
        check: what runs the graph, for the manifest.
        look: is called with each row of the result.
        turned: is called for a case that missed. None: no decision is explained.

    Returns:
        A row for every size and output, that of the worst case of the sizes. Where a tie explains a distance,
        the tolerance is what the tie allows.

    Raises:
        ExportError: the graph does not run, or an output has another shape or dtype than declared.
    """
    scenes: dict[tuple[Tensor, str], list[tuple[Parity, np.ndarray, Case, int]]] = {}
    for case in cases:
        feed = {tensor.name: array for tensor, array in zip(spec.inputs, case.inputs, strict=True)}
        try:
            found = run(feed)
        except Exception as error:
            raise ExportError(
                f"stage {spec.name} cannot run at {describe(case.sizes)}: {error}",
                "a size was taken for a constant when tracing, or the operator set is too new",
            ) from error
        _require_shapes(spec.outputs, found, case.sizes, f"outputs of stage {spec.name}")
        ways: Sequence[Arrays] | None = None
        for place, (tensor, output, expected) in enumerate(
            zip(spec.outputs, found, case.outputs, strict=True)
        ):
            if output.dtype != np.dtype(tensor.dtype):
                raise ExportError(
                    f"{tensor.name} of stage {spec.name} is {output.dtype}, declared {tensor.dtype}"
                )
            distance, tolerance = relative_l2(output, expected), spec.tolerance.of(precision)
            if _is_integer(tensor):
                distance = share_differing(output, expected, case.undecided.get(tensor.name))
                tolerance = 0.5 / output.size  # less than one element
            elif turned is not None and not distance <= tolerance:
                ways = turned(case, _ROUNDING * tolerance) if ways is None else ways
                distance, tolerance = _explained(output, expected, [way[place] for way in ways], tolerance)
            row = Parity(
                stage=spec.name,
                tensor=tensor.name,
                check=check,
                sizes=case.sizes,
                relative_l2=distance,
                max_abs=_json_number(np.abs(_double(output) - _double(expected)).max()),
                tolerance=tolerance,
            )
            scenes.setdefault((tensor, describe(case.sizes)), []).append((row, output, case, place))
    rows = []
    for (tensor, _), some in scenes.items():
        row, output, case, place = max(some, key=lambda one: one[0].relative_l2 / one[0].tolerance)
        if look is not None:
            look(row, tensor, output, case.outputs[place], case.undecided.get(tensor.name))
        rows.append(row)
    return tuple(rows)


def require(rows: Iterable[Parity], hint: str = _HINT) -> None:
    """Raise ParityError if a comparison missed its tolerance.

    Args:
        rows: the comparisons.
        hint: what to do.

    Raises:
        ParityError: some tensors are too far from the reference. The message names them all.
    """
    missed = [row for row in rows if not row.passed]
    if missed:
        lines = "\n".join(
            f"  {row.stage}.{row.tensor} at {describe(row.sizes)}:"
            f" relative L2 {row.relative_l2:.2e}, tolerance {row.tolerance:.0e}"
            for row in missed
        )
        raise ParityError(
            f"{len(missed)} outputs are further from the reference than their tolerance\n{lines}",
            hint,
        )


def relative_l2(found: np.ndarray, expected: np.ndarray) -> float:
    """Return |found - expected| / |expected|, summed in float64.

    It is infinite for NaN, and if `expected` is zero and `found` is not.
    """
    reference = _double(expected)
    difference = np.linalg.norm((_double(found) - reference).ravel())
    norm = np.linalg.norm(reference.ravel())
    if norm == 0:
        return 0.0 if difference == 0 else math.inf
    return _json_number(difference / norm)


def _explained(
    found: np.ndarray, expected: np.ndarray, ways: Sequence[np.ndarray], tolerance: float
) -> tuple[float, float]:
    """Return the distance of an output that missed, and its tolerance in the light of turned decisions."""
    distance = relative_l2(found, expected)
    nearest = min((relative_l2(found, way) for way in ways), default=math.inf)
    if nearest <= tolerance:
        return nearest, tolerance
    jump = sum(relative_l2(way, expected) for way in ways)
    explains = tolerance < jump < math.inf and distance <= _TURNS * jump
    return distance, _TURNS * jump if explains else tolerance


def share_differing(found: np.ndarray, expected: np.ndarray, undecided: np.ndarray | None = None) -> float:
    """Return the share of elements that differ, without those that rounding decides."""
    differs = found != expected
    if undecided is not None:
        differs &= ~undecided
    return float(differs.mean())


def describe(sizes: Mapping[str, int]) -> str:
    """Format sizes as `"height=512, width=640"`."""
    return ", ".join(f"{axis}={size}" for axis, size in sizes.items())


def _require_shapes(
    declared: Sequence[Tensor], arrays: Sequence[np.ndarray], sizes: Mapping[str, int], what: str
) -> None:
    want = [tensor.resolve(sizes) for tensor in declared]
    have = [array.shape for array in arrays]
    if want != have:
        raise ExportError(f"the {what} have shapes {have} at {describe(sizes)}, declared {want}")


def _is_integer(tensor: Tensor) -> bool:
    return np.dtype(tensor.dtype).kind in "iu"


def _double(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64)


def _json_number(value: float | np.floating) -> float:
    # JSON has no NaN. Infinity stands for it, as the largest distance.
    return math.inf if np.isnan(value) else float(value)

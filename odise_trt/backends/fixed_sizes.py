"""Which sizes of a stage an engine may be compiled for, read from the stage's declaration."""

from __future__ import annotations

from collections.abc import Mapping

from ..stage_spec import StageSpec, Tensor, split_dimension


def held_axes(spec: StageSpec) -> dict[str, int]:
    """Return the axes that a profile of the stage holds at one size, with that size.

    If several do, the first profile counts: it is the usual one.
    """
    found: dict[str, int] = {}
    for profile in spec.profiles:
        for axis, (least, _, most) in profile.ranges.items():
            if least == most:
                found.setdefault(axis, least)
    return found


def batch_axis(spec: StageSpec) -> str | None:
    """Return the axis along which every output is a row of independent results, if the stage has one.

    It is the first dimension of all outputs, and no other dimension of any tensor.
    """
    first = {tensor.shape[0] if tensor.shape else None for tensor in spec.outputs}
    others = {d for tensor in (*spec.inputs, *spec.outputs) for d in tensor.shape[1:] if isinstance(d, str)}
    name = first.pop() if len(first) == 1 else None
    return name if isinstance(name, str) and name not in {split_dimension(d)[0] for d in others} else None


def open_shape(tensor: Tensor, sizes: Mapping[str, int]) -> list[int]:
    """Return the shape, with -1 for dimensions whose size is open."""
    shape = []
    for dimension in tensor.shape:
        axis, divisor = (None, 1) if isinstance(dimension, int) else split_dimension(dimension)
        if axis is None:
            shape.append(int(dimension))
        else:
            shape.append(sizes[axis] // divisor if axis in sizes else -1)
    return shape

"""What the page shows of each output, made while its arrays are there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from odise_trt.bundle.manifest import Parity
from odise_trt.stage_spec import Tensor

from .histogram import Histogram, histogram
from .maps import Panel, draw_ids, draw_numbers, is_map


@dataclass(frozen=True)
class Exhibit:
    """One output of a stage, in one of its comparisons.

    Attributes:
        row: the comparison.
        place: which plane is drawn, in words.
        panels: pictures. None if the output is no map.
        errors: how large errors are. None for whole numbers, which are equal or not.
    """

    row: Parity
    place: str
    panels: tuple[Panel, ...]
    errors: Histogram | None


class Exhibits:
    """Collects an exhibit of every output. It keeps pictures, no arrays."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[tuple[bool, int, float, int], Exhibit]] = {}

    def look(
        self,
        row: Parity,
        tensor: Tensor,
        found: np.ndarray,
        expected: np.ndarray,
        undecided: np.ndarray | None,
    ) -> None:
        """Look at a comparison. It is drawn if none of the same output has to be drawn before it.

        Of comparisons that missed, the one furthest from its tolerance is drawn. Of others, the one with the
        largest map, and among equals the one closest to its tolerance.

        Args:
            row: the comparison.
            tensor: the declaration of the output.
            found, expected: the output, and that of the reference.
            undecided: where rounding decides, for whole numbers.
        """
        key = (row.stage, tensor.name)
        pixels = math.prod(found.shape[-2:]) if is_map(tensor.shape) and row.passed else 0
        rank = (not row.passed, pixels, row.relative_l2 / row.tolerance, found.size)
        if key not in self._found or rank > self._found[key][0]:
            self._found[key] = (rank, _exhibit(row, tensor, found, expected, undecided))

    def all(self) -> tuple[Exhibit, ...]:
        """Return the exhibits, in the order that their outputs came."""
        return tuple(exhibit for _, exhibit in self._found.values())


def _exhibit(
    row: Parity, tensor: Tensor, found: np.ndarray, expected: np.ndarray, undecided: np.ndarray | None
) -> Exhibit:
    drawn = is_map(tensor.shape)
    # A build compares graphs: an engine made of one is no part of that.
    what = "graph" if row.check == "onnx" else row.check
    if np.dtype(tensor.dtype).kind in "iu":
        place, panels = draw_ids(found, expected, undecided, what) if drawn else ("", ())
        return Exhibit(row, place, panels, None)
    typical = float(np.linalg.norm(expected.astype(np.float64).ravel())) / math.sqrt(max(1, expected.size))
    place, panels = draw_numbers(found, expected, typical, what) if drawn else ("", ())
    return Exhibit(row, place, panels, histogram(found, expected, typical))

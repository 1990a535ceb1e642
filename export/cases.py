"""The cases of a comparison: what goes into a stage, and what the reference makes of it.

They are made before the graph is written and compared after, so that the weights of the reference need not be
in memory while the graph runs. Until then large arrays wait on disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from odise_trt.bundle.manifest import Parity
from odise_trt.files.writing import writing
from odise_trt.stage_spec import StageSpec
from reference.on_demand import OnDemand
from reference.preset import Preset

from .graph_runner import Runner
from .parity import SEED, Case, Look, Turned, check_onnx, example_inputs, reference_case
from .stage_work import names_used
from .stages import StageWrapper

if TYPE_CHECKING:
    from reference.model import ODISE

Inputs = Sequence[tuple[torch.Tensor, ...]]

#: Arrays below so many bytes stay in memory.
_SMALL = 2**20


def holding_stages(model: ODISE, names: Sequence[str]) -> AbstractContextManager[None]:
    """Have the weights of stages in memory for a block, if the model is read on demand."""
    if not isinstance(model, OnDemand) or not names:
        return nullcontext()
    return model.holding({weight for name in names for weight in _used(model.preset, name)})


def inputs_of_stages(
    stage: StageWrapper, model: ODISE, spec: StageSpec, sizes: Sequence[Mapping[str, int]]
) -> Inputs | None:
    """Make the inputs of a stage that are outputs of others, for `reference_cases`. None: there are none.

    Those run first and alone: their weights and those of the stage are never in memory together.
    """
    if not stage.example_stages:
        return None
    with holding_stages(model, stage.example_stages):
        return [example_inputs(stage, model, spec, *one) for one in _wanted(stage, sizes)]


def reference_cases(
    stage: StageWrapper,
    model: ODISE,
    spec: StageSpec,
    sizes: Sequence[Mapping[str, int]],
    folder: Path | None = None,
    inputs: Inputs | None = None,
) -> list[Case]:
    """Run the reference on the seeded inputs of a stage, at all sizes and for all its scenes.

    Args:
        spec: its declaration at the precision it computes in.
        sizes: one size per axis, for each comparison.
        folder: where large arrays wait. None: they stay in memory.
        inputs: as from `inputs_of_stages`, which is asked if they are not given.

    Raises:
        ExportError: as `example_inputs` and `reference_case`.
        OutputError: the disk is full, or the like.
    """
    inputs = inputs_of_stages(stage, model, spec, sizes) if inputs is None else inputs
    with holding_stages(model, [spec.name]):
        cases = []
        for place, (one, seed) in enumerate(_wanted(stage, sizes)):
            given = example_inputs(stage, model, spec, one, seed) if inputs is None else inputs[place]
            case = reference_case(stage, spec, one, given)
            cases.append(case if folder is None else _on_disk(case, folder / str(place)))
        return cases


def compare(
    run: Runner,
    stage: StageWrapper,
    model: ODISE,
    spec: StageSpec,
    sizes: Sequence[Mapping[str, int]],
    precision: str,
    check: str,
    look: Look | None = None,
) -> tuple[Parity, ...]:
    """Compare an engine with the reference at all sizes. The cases of one size are in memory at a time.

    Args:
        run, precision, check, look: as for `check_onnx`.
        stage, model, spec, sizes: as for `reference_cases`.

    Raises:
        ExportError: as `reference_cases` and `check_onnx`.
    """
    rows: list[Parity] = []
    for one in sizes:
        cases = reference_cases(stage, model, spec, [one])
        rows += check_onnx(run, spec, cases, precision, check, look, turning(stage, model, spec.name))
    return tuple(rows)


def turning(stage: StageWrapper, model: ODISE, name: str) -> Turned | None:
    """Return what explains ties of a stage, for `check_onnx`. None: it takes no hard decisions inside."""
    if type(stage).turned is StageWrapper.turned:
        return None

    def turned(case: Case, rounding: float) -> list[tuple[np.ndarray, ...]]:
        with holding_stages(model, [name]), torch.inference_mode():
            given = [torch.from_numpy(np.array(array)).float() for array in case.inputs]
            return [tuple(x.numpy() for x in outputs) for outputs in stage.turned(rounding, *given)]

    return turned


def _wanted(stage: StageWrapper, sizes: Sequence[Mapping[str, int]]) -> list[tuple[Mapping[str, int], int]]:
    return [(one, SEED + scene) for one in sizes for scene in range(stage.scenes)]


@cache
def _used(preset: Preset, name: str) -> frozenset[str]:
    return names_used(preset, [name])[name]


def _on_disk(case: Case, folder: Path) -> Case:
    numbers = count()

    def kept(array: np.ndarray) -> np.ndarray:
        if array.nbytes < _SMALL:
            return array
        path = folder / f"{next(numbers)}.npy"
        with writing(path):
            folder.mkdir(parents=True, exist_ok=True)
            np.save(path, array, allow_pickle=False)
        mapped: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return np.asarray(mapped)

    return replace(
        case,
        inputs=tuple(map(kept, case.inputs)),
        outputs=tuple(map(kept, case.outputs)),
        undecided={name: kept(where) for name, where in case.undecided.items()},
    )

"""Runs the pipeline of a manifest in ONNX Runtime, on the host. It knows nothing of ODISE.

That it gives the results of `Segmenter` shows that the data of a pipeline says all there is to know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnxruntime

from odise_trt.backends.base import choose_profile
from odise_trt.bundle.manifest import Manifest
from odise_trt.pipeline import Step
from odise_trt.stage_spec import StageSpec, Tensor, split_dimension
from odise_trt.task import Task

Arrays = dict[str, np.ndarray]


class Interpreter:
    """The pipeline of a bundle, with a session for each stage."""

    def __init__(self, folder: Path, at_once: Mapping[str, int] | None = None) -> None:
        """Open the sessions. `at_once`: the most windows or rows of a repeat, fewer than the stages take."""
        self.manifest = Manifest.read(folder)
        self.specs = {entry.spec.name: entry.spec for entry in self.manifest.stages}
        self._at_once = dict(at_once or {})
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._sessions = {
            step.stage: onnxruntime.InferenceSession(
                folder / self.manifest.stage(step.stage).file, options, providers=["CPUExecutionProvider"]
            )
            for step in self.manifest.pipeline
        }

    def run(self, tasks: Iterable[Task], host: Mapping[str, np.ndarray]) -> Arrays:
        """Run the steps of some tasks. Returns every tensor, "stage.name" or as the host named it."""
        tensors = dict(host)
        wanted = set(tasks)
        for step in self.manifest.pipeline:
            if step.serves(wanted):
                self.step(step.stage, tensors)
        return tensors

    def step(self, stage: str, tensors: Arrays) -> None:
        """Run one step on tensors, and add what it gives to them."""
        step = next(step for step in self.manifest.pipeline if step.stage == stage)
        inputs = {name: tensors[source] for name, source in step.inputs.items()}
        found = self._repeated(step, inputs) if step.repeat else self._once(stage, inputs)
        tensors.update({f"{stage}.{name}": array for name, array in found.items()})

    def _repeated(self, step: Step, inputs: Arrays) -> Arrays:
        spec = self.specs[step.stage]
        sizes = sizes_of(spec.inputs, inputs)
        axis = step.repeat
        assert axis is not None
        count, most = sizes[axis], self._most(spec, axis, sizes)
        sliced = {tensor.name for tensor in spec.inputs if step.is_repeated(tensor)}
        state = {
            back: np.zeros(self._declared(spec, back).resolve(sizes), self._declared(spec, back).dtype)
            for back in step.carried.values()
        }
        parts: list[Arrays] = []
        for start in range(0, count, most):
            part = {n: a[start : start + most] if n in sliced else a for n, a in inputs.items()}
            parts.append(self._once(step.stage, part | state))
            state = {back: parts[-1][output] for output, back in step.carried.items()}
        return {
            tensor.name: np.concatenate([part[tensor.name] for part in parts])
            if step.is_repeated(tensor)
            else parts[-1][tensor.name]
            for tensor in spec.outputs
        }

    def _most(self, spec: StageSpec, axis: str, sizes: Mapping[str, int]) -> int:
        """How many windows or rows the profiles take at once, for the other sizes."""
        fitting = [
            profile.ranges[axis][2]
            for profile in spec.profiles
            if all(low <= sizes[n] <= high for n, (low, _, high) in profile.ranges.items() if n != axis)
        ]
        return min(max(fitting), self._at_once.get(axis, max(fitting)))

    def _declared(self, spec: StageSpec, name: str) -> Tensor:
        return next(tensor for tensor in spec.inputs if tensor.name == name)

    def _once(self, stage: str, inputs: Arrays) -> Arrays:
        spec = self.specs[stage]
        sizes = sizes_of(spec.inputs, inputs)
        # An engine needs a profile for these sizes.
        choose_profile(spec, sizes)
        names = [tensor.name for tensor in spec.outputs]
        outputs = dict(zip(names, self._sessions[stage].run(names, inputs), strict=True))
        for tensor in spec.outputs:
            assert outputs[tensor.name].shape == tensor.resolve(sizes)
            assert outputs[tensor.name].dtype == np.dtype(tensor.dtype)
        return outputs


def sizes_of(declared: Iterable[Tensor], arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
    """The sizes of axes, of arrays that fit their declaration."""
    sizes: dict[str, int] = {}
    for tensor in declared:
        if tensor.name not in arrays:  # carried: of the same axes as others
            continue
        array = arrays[tensor.name]
        assert array.dtype == np.dtype(tensor.dtype), tensor.name
        for dimension, size in zip(tensor.shape, array.shape, strict=True):
            if isinstance(dimension, str):
                axis, divisor = split_dimension(dimension)
                assert sizes.setdefault(axis, size * divisor) == size * divisor, (tensor.name, axis)
            else:
                assert dimension == size, tensor.name
    return sizes

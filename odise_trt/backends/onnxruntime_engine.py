"""A stage in a session of ONNX Runtime, on the CPU or on a CUDA GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BackendError
from ..stage_spec import StageSpec
from .base import check_inputs
from .device import DeviceTensor, check_tensors
from .mapped_files import release_pages
from .registry import ON_DEVICE, SIZES

#: Of so many queued runs of a stage, one is waited for, see `OnnxRuntimeEngine.enqueue`.
_WAIT_EVERY = 256
#: Sessions that must not be freed, see `OnnxRuntimeEngine.close`.
_UNSETTLED: list[Any] = []

_Key = tuple[tuple[str, tuple[int, ...]], ...]


class OnnxRuntimeEngine:
    """A stage in an ONNX Runtime session, see `Engine`.

    Attributes:
        spec: the declaration.
        copies_sizes: whether a run on a GPU copies sizes there from the host.
    """

    def __init__(
        self,
        ort: Any,
        session: Any,
        spec: StageSpec,
        shrink: bool,
        mapped: Sequence[Path],
        place: tuple[str, int],
    ) -> None:
        self.spec = spec
        self.copies_sizes = session.get_modelmeta().custom_metadata_map.get(SIZES) != ON_DEVICE
        self._session = session
        self._mapped = mapped
        self._place = place
        self._run_options = ort.RunOptions()
        self._queued = self._run_options
        # How many runs were queued, and the shapes of the last one's inputs.
        self._runs = 0
        self._shapes: dict[str, tuple[int, ...]] = {}
        # Shapes that a recording is expected of, how many are, and those of them that have run since.
        self._kept: Counter[_Key] = Counter()
        self._ready: set[_Key] = set()
        if place[0] != "cpu":
            # Otherwise every run waits for the GPU.
            self._queued = ort.RunOptions()
            self._queued.add_run_config_entry("disable_synchronize_execution_providers", "1")
        if shrink:
            # Otherwise each session keeps the most scratch memory that it ever used. For a whole open bundle
            # these are gigabytes, although only one stage runs at a time.
            self._run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the stage once, see `Engine.run`."""
        if self._session is None:
            raise BackendError(f"stage {self.spec.name} was closed")
        sizes = check_inputs(self.spec, inputs)
        names = [tensor.name for tensor in self.spec.outputs]
        try:
            arrays = self._session.run(names, dict(inputs), self._run_options)
        # Its exceptions share no base but Exception.
        except Exception as error:
            raise BackendError(f"stage {self.spec.name} failed in onnxruntime: {error}") from error
        finally:
            if self._mapped:
                # Only one stage runs at a time. Its next run has the pages again at once.
                release_pages(self._mapped)
        for tensor, array in zip(self.spec.outputs, arrays, strict=True):
            if array.shape != tensor.resolve(sizes):
                raise BackendError(
                    f"stage {self.spec.name}: output {tensor.name} has shape {array.shape}, declared"
                    f" {tensor.resolve(sizes)}",
                    "build the stage again",
                )
        return dict(zip(names, arrays, strict=True))

    def enqueue(self, inputs: Mapping[str, DeviceTensor], outputs: Mapping[str, DeviceTensor]) -> None:
        """Queue one run on tensors of the device, see `DeviceEngine.enqueue`.

        On the CPU, addresses are those of the host, and the run is done when the call returns.
        """
        if self._session is None:
            raise BackendError(f"stage {self.spec.name} was closed")
        check_tensors(self.spec, inputs, outputs)
        try:
            binding = self._session.io_binding()
            for bind, tensors in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
                for name, one in tensors.items():
                    bind(name, *self._place, np.dtype(one.dtype), one.shape, one.address)
            self._runs += 1
            self._shapes = {name: one.shape for name, one in inputs.items()}
            # Pinned memory of the host that a run used is given back only by a run that is waited for.
            waits = self.copies_sizes and self._runs % _WAIT_EVERY == 0
            self._session.run_with_iobinding(binding, self._run_options if waits else self._queued)
            if _key(self._shapes) in self._kept:
                self._ready.add(_key(self._shapes))
        # Its exceptions share no base but Exception.
        except Exception as error:
            raise BackendError(f"stage {self.spec.name} failed in onnxruntime: {error}") from error
        finally:
            if self._mapped:
                release_pages(self._mapped)

    def scratch(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """Return 0: ONNX Runtime manages its scratch memory itself."""
        return 0

    def keep(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Expect a recording, see `DeviceEngine.keep`."""
        self._kept[_key(shapes)] += 1

    def release(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Expect it no more, see `DeviceEngine.release`."""
        key = _key(shapes)
        self._kept[key] -= 1
        if not self._kept[key]:
            del self._kept[key]
            self._ready.discard(key)

    def can_be_recorded(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Whether these sizes have run since `keep`, so that their memory and their kernels are there.

        The memory of a session is used again in every run, and never freed before the session is. So what a
        recording uses stays valid.
        """
        return not self.copies_sizes and _key(shapes) in self._ready

    def close(self) -> None:
        """Free the session."""
        if self._session is not None and self._runs and self._place[0] != "cpu":
            self._settle()
        self._session = None

    def _settle(self) -> None:
        """Run once more and wait, so that nothing of a queued run is left.

        A session that has pinned memory to give back does so in a callback of CUDA. There, freeing its last
        memory is not allowed, and ends the process (seen in onnxruntime-gpu 1.31).
        """
        binding = self._session.io_binding()
        try:
            for tensor in self.spec.inputs:
                binding.bind_cpu_input(tensor.name, np.zeros(self._shapes[tensor.name], tensor.dtype))
            for tensor in self.spec.outputs:
                binding.bind_output(tensor.name, *self._place)
            self._session.run_with_iobinding(binding)
        except Exception:  # Its exceptions share no base but Exception.
            # There is no memory for the run. A session that stays costs less than the process.
            _UNSETTLED.append(self._session)


def _key(shapes: Mapping[str, tuple[int, ...]]) -> _Key:
    return tuple(sorted(shapes.items()))

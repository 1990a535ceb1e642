"""Check that a disk has room for the files of a build, before hours of work."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from odise_trt.bundle.place import real_place
from odise_trt.errors import OutputError
from odise_trt.files.writing import writing
from odise_trt.stage_spec import PRECISIONS
from reference.model.allocation import SkipInitialisation
from reference.preset import Preset

from .onnx_export import trace_sizes
from .plan import Target
from .stages import StageWrapper, all_stages

#: Bytes of tokenizer, constants, report and manifest.
_OTHER_FILES = 2 * 10**6
_BYTES = {"float32": 4, "float16": 2}


def require_room(needs: Sequence[tuple[Target, Collection[str]]], preset: Preset) -> None:
    """Raise OutputError unless every target has room for the weights of the stages to be built for it.

    Raises:
        OutputError: a disk is too full. The estimate is a lower bound, because it counts weights only and not
            the graphs around them.
    """
    # Counting all weights of the modules takes no time. Finding the weights that a stage uses takes seconds.
    names = list(dict.fromkeys(name for _, some in needs for name in some))
    if _short(needs, _weights(preset, names, _held)) is None:
        return
    if (short := _short(needs, _weights(preset, names, _used))) is not None:
        raise short


def _short(
    needs: Iterable[tuple[Target, Collection[str]]], weights: Mapping[str, Mapping[int, int]]
) -> OutputError | None:
    needed: Counter[int] = Counter()
    for target, names in needs:
        place = real_place(target.folder).parent
        counts = [weights[name] for name in names]
        # Graphs keep what several stages read once. Every engine has its own copy.
        once = sum({key: count for stage in counts for key, count in stage.items()}.values())
        every = sum(sum(stage.values()) for stage in counts)
        with writing(place):
            disk, free = place.stat().st_dev, shutil.disk_usage(place).free
        size = _BYTES[PRECISIONS[target.precision]]
        needed[disk] += (once if target.builder is None else every) * size + _OTHER_FILES
        if needed[disk] > free:
            return OutputError(
                f"{place} has {_size(free)} of free space, the build needs at least {_size(needed[disk])}",
                "make room, or choose another --output",
            )
    return None


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 10**9 else f"{count / 1e6:.1f} MB"


def _weights(
    preset: Preset, names: Iterable[str], count: Callable[[StageWrapper, Preset], Mapping[int, int]]
) -> dict[str, Mapping[int, int]]:
    from reference.model import ODISE

    with torch.device("meta"), torch.no_grad(), SkipInitialisation():
        model = ODISE(preset)
        return {name: count(all_stages()[name](model).eval(), preset) for name in names}


def _held(stage: StageWrapper, preset: Preset) -> dict[int, int]:
    """Count the numbers in all modules of a stage, used or not. A stage may use only half of a CLIP."""
    return {key: value.numel() for key, value in _tensors(stage).items()}


def _used(stage: StageWrapper, preset: Preset) -> dict[int, int]:
    """Count the numbers in the parameters and buffers that a stage uses."""
    spec, held = stage.declare(preset).at("fp32"), _tensors(stage)
    sizes = trace_sizes(spec)
    inputs = [torch.zeros(t.resolve(sizes), dtype=getattr(torch, t.dtype)) for t in spec.inputs]
    with _Uses(held) as uses:
        try:
            stage(*inputs)
        except RuntimeError:  # some operators do not run without numbers
            return _held(stage, preset)
    return {key: held[key].numel() for key in uses.found}


def _tensors(stage: StageWrapper) -> dict[int, Tensor]:
    return {id(value): value for value in (*stage.parameters(), *stage.buffers())}


class _Uses(TorchFunctionMode):
    """Records which of the given tensors are used."""

    def __init__(self, tensors: Mapping[int, Tensor]) -> None:
        super().__init__()
        self._tensors = tensors
        self.found: set[int] = set()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        self._look((*args, *kwargs.values()))
        return func(*args, **kwargs)

    def _look(self, values: Iterable[Any]) -> None:
        for value in values:
            if isinstance(value, list | tuple):
                self._look(value)
            elif id(value) in self._tensors:
                self.found.add(id(value))

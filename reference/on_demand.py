"""A model of which only the part in use is in memory.

The published model has 1.5 billion numbers, 6 GB. Whoever works on one part after another needs no more than
the largest part at a time: 3.7 GB for the diffusion features, 1.2 GB or less for every other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor, nn

from odise_trt.machine_memory import give_back
from reference.checkpoint import (
    Slot,
    load_weights,
    official_value,
    require_constants,
    require_names,
    seed_of,
    slots,
    weights_file,
)
from reference.model import ODISE
from reference.model.allocation import SkipInitialisation
from reference.preset import Preset, find_preset
from reference.weights.random import fill
from reference.weights.safetensors_file import WeightsFile

#: Above so many bytes, a model is worth it that a part may be read more than once.
LARGE = 10**9
#: Parameters up to so many bytes are always there: norms, biases, scales. All of them together have 0.1 GB.
SMALL = 2**20


class OnDemand(ODISE):
    """A model in evaluation mode whose large parameters are in memory while `holding` is asked for them.

    At all other times they are on PyTorch's device "meta": they have shapes, and computing with them is an
    error. The values are those of `reference.checkpoint.load_weights`.

    Args:
        preset, source: as for `load_weights`. Files without the frozen part are not for this.
        small: bytes of the largest parameter that is always there.

    Raises:
        PresetError: unknown preset.
        WeightsError: unknown source, or a file whose names do not fit the preset. `each` checks the rest.
    """

    def __init__(self, preset: Preset | str, source: str, small: int = SMALL) -> None:
        preset, seed = find_preset(preset), seed_of(source)
        path = weights_file(preset, source) if seed is None else None
        if path is not None:
            with WeightsFile(path) as tensors:
                preset = preset if tensors.labels is None else replace(preset, train_labels=tensors.labels)
        with SkipInitialisation():
            super().__init__(preset)
        self.eval()
        self._seed, self._path = seed, path
        if path is not None:
            with WeightsFile(path) as tensors:
                require_names(self, tensors)
        self._places = _places(self)
        # Buffers that no file and no seed fills keep what the model computes. Texts are projected between
        # the stages, too.
        texts = {id(value) for value in self.text_head.parameters()}
        always = [
            slot
            for slot in slots(self)
            if not _is_parameter(slot) or slot.tensor.nbytes <= small or id(slot.tensor) in texts
        ]
        with torch.no_grad():
            for slot, value in self._values(always):
                slot.tensor.copy_(value)
        there = {slot.ours for slot in always}
        self._large = {slot.ours: slot for slot in slots(self) if slot.ours not in there}
        for name in self._large:
            self._put(name, None)

    @contextmanager
    def holding(self, names: Iterable[str]) -> Iterator[None]:
        """Have these parameters in memory for this block. Blocks may be nested.

        Args:
            names: as in `named_parameters`. Those that are always there may be among them.

        Raises:
            WeightsError: the file was changed.
        """
        wanted = {name for name in self._large if not {name, *self._places[name]}.isdisjoint(names)}
        missing = [name for name in wanted if self._large[name].tensor.is_meta]
        try:
            for slot, value in self._values([self._large[name] for name in missing], check=False):
                self._put(slot.ours, value)
            yield
        finally:
            for name in missing:
                self._put(name, None)
            give_back()

    def each(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the official name and the values of parameters and buffers, one after the other.

        Of a file all of them. Of a seed only those that are there: the others are random numbers in a range.

        Raises:
            WeightsError: the file does not fit, as `load_official` says.
        """
        for slot, value in self._values([s for s in slots(self) if self._path or not s.tensor.is_meta]):
            yield slot.names[0], value
        if self._path is not None:
            with WeightsFile(self._path) as tensors:
                require_constants(self.preset, tensors)

    def _values(self, wanted: Collection[Slot], check: bool = True) -> Iterator[tuple[Slot, Tensor]]:
        if self._path is not None:
            with WeightsFile(self._path) as tensors:
                for slot in wanted:
                    value = official_value(slot, tensors, copies=check)
                    # A copy: products of numbers at any place of a file round in another way.
                    yield slot, torch.empty(value.shape).copy_(value)
            return
        assert self._seed is not None
        for slot in wanted:
            name = slot.names[0]
            if _is_parameter(slot) or name.rpartition(".")[2] in ("uncond_inputs", "shared_noise"):
                value = torch.empty(slot.tensor.shape)
                fill(name, value, self._seed)
                yield slot, value
            else:
                yield slot, slot.tensor

    def _put(self, name: str, value: Tensor | None) -> None:
        """Set a parameter, wherever the model has it. None: its shape alone."""
        slot = self._large[name]
        if value is None:
            value = torch.empty(slot.tensor.shape, device="meta")
        parameter = nn.Parameter(value, requires_grad=slot.tensor.requires_grad)
        for place in self._places[name]:
            owner, _, leaf = place.rpartition(".")
            setattr(self.get_submodule(owner), leaf, parameter)
        self._large[name] = slot._replace(tensor=parameter)


def open_model(preset: Preset | str, source: str) -> ODISE:
    """Load a model, a large one on demand; arguments and errors as for `load_weights`."""
    preset = find_preset(preset)
    return OnDemand(preset, source) if model_bytes(preset) > LARGE else load_weights(preset, source)


def holding(model: ODISE, names: Iterable[str]) -> AbstractContextManager[None]:
    """Have parameters in memory for a block, see `OnDemand.holding`. Other models have all of them always."""
    return model.holding(names) if isinstance(model, OnDemand) else nullcontext()


def each(model: ODISE) -> Iterator[tuple[str, Tensor]]:
    """Yield the official name and the values of every parameter and buffer, see `OnDemand.each`."""
    if isinstance(model, OnDemand):
        return model.each()
    return ((slot.names[0], slot.tensor) for slot in slots(model))


@cache
def model_bytes(preset: Preset) -> int:
    """Return the bytes of all parameters and buffers of a model, counted without a number in memory."""
    with torch.device("meta"), SkipInitialisation():
        model = ODISE(preset)
    return sum(tensor.nbytes for tensor in {*model.parameters(), *model.buffers()})


def _is_parameter(slot: Slot) -> bool:
    return isinstance(slot.tensor, nn.Parameter)


def _places(model: ODISE) -> dict[str, tuple[str, ...]]:
    """Return every name of each parameter: a shared module (CLIP) appears under every module that uses it."""
    names: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), []).append(name)
    return {name: tuple(group) for group in names.values() for name in group}

"""Building a model whose parameters are all overwritten afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


class SkipInitialisation(TorchFunctionMode):
    """Modules built in this context leave their random parameters as allocated.

    Every one is overwritten afterwards. Filling 1.5 billion numbers first would take minutes, and memory
    that is not written is not used yet.
    """

    # Some functions of torch.nn.init hand themselves over, and call those of the tensor out of this reach.
    _SKIPPED = frozenset(
        {
            torch.Tensor.normal_,
            torch.Tensor.uniform_,
            nn.init.normal_,
            nn.init.uniform_,
            nn.init.trunc_normal_,
            nn.init.xavier_normal_,
            nn.init.xavier_uniform_,
            nn.init.kaiming_normal_,
            nn.init.kaiming_uniform_,
        }
    )

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Called by PyTorch for every operation."""
        kwargs = kwargs or {}
        if func in self._SKIPPED:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)

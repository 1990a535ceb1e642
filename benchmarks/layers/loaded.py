"""Opens a backend with a module of one's own in place of its package, and its usual options."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from odise_trt.backends.base import Backend, Options
from odise_trt.backends.registry import BackendEntry, resolve


def open_with(entry: BackendEntry, module: Any, options: Options) -> Backend:
    """Open a backend that takes `module` for its package."""
    declared = {one.name: getattr(entry, one.name) for one in fields(entry)}
    backend: Backend = resolve(entry.opens)(_Entry(**declared, module=module), options)
    return backend


@dataclass(frozen=True)
class _Entry(BackendEntry):
    module: Any = None

    def load(self) -> Any:
        return self.module

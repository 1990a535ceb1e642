"""The card, and what each backend says on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from odise_trt.backends import open_backend
from odise_trt.backends.registry import BACKENDS

from .card import card
from .sections import Bench


def probe(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Describe the machine, and try to open every backend on the device.

    Yields:
        "machine", which keys all records; then "backend NAME": what it says of itself, or its exact refusal.
    """
    yield "machine", card(bench.device)
    for name, entry in BACKENDS.items():
        device = "cuda" if entry.needs_gpu else bench.device.type
        try:
            backend = open_backend(name, precision=bench.precision, device=device)
        except Exception as error:  # whatever a library says is the answer
            yield f"backend {name}", {"refusal": str(error)[:1000]}
            continue
        try:
            yield f"backend {name}", backend.describe()
        finally:
            backend.close()

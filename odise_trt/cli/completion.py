"""Shell completion of names after Tab."""

from __future__ import annotations


def vocabularies_like(incomplete: str) -> list[str]:
    """Return the vocabularies that --vocab takes by name. After a `+`, return those that can be added."""
    from ..vocabulary import PRESETS

    before, plus, last = incomplete.rpartition("+")
    return [f"{before}{plus}{name}" for name in PRESETS if name.startswith(last)]


def devices_like(incomplete: str) -> list[str]:
    """Return the devices that --device takes."""
    return [name for name in ("cpu", "cuda") if name.startswith(incomplete)]

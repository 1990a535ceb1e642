"""Shell completion of options that several commands have. It does not import torch."""

from __future__ import annotations


def presets_like(incomplete: str) -> list[str]:
    """List the presets with this prefix, without those for tests."""
    from reference.preset import PRESETS

    return [name for name in PRESETS if name.startswith(incomplete) and not name.startswith("golden-")]

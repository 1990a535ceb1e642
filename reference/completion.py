"""Names that the shell offers after Tab, for options of several commands. None of them needs torch."""

from __future__ import annotations


def presets_like(incomplete: str) -> list[str]:
    """The presets whose names begin so, without those that only tests use."""
    from reference.preset import PRESETS

    return [name for name in PRESETS if name.startswith(incomplete) and not name.startswith("golden-")]

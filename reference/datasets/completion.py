"""Names of datasets that the shell offers after Tab."""

from __future__ import annotations


def datasets_like(incomplete: str) -> list[str]:
    """The datasets on disk whose names begin so."""
    from reference.datasets import DATASETS

    return [name for name in DATASETS if name.startswith(incomplete)]

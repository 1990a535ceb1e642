"""Shell completion of the names of stages."""

from __future__ import annotations


def stages_like(incomplete: str) -> list[str]:
    """List the stages with this prefix, for --stage."""
    from .stages import stage_names

    return [name for name in stage_names() if name.startswith(incomplete)]


def optional_stages_like(incomplete: str) -> list[str]:
    """List the optional stages with this prefix, for --with."""
    from odise_trt.bundle.rebuild import OPTIONAL_STAGES

    return [name for name in OPTIONAL_STAGES if name.startswith(incomplete)]

"""The names of stages, for the shell."""

from __future__ import annotations


def stages_like(incomplete: str) -> list[str]:
    """The stages whose names begin so: what the shell offers for --stage."""
    # The runtime's list: the exporter's imports torch, which takes seconds.
    from odise_trt.executor import IMAGE_STAGES
    from odise_trt.text_table import TEXT_ENCODER

    return [name for name in (*IMAGE_STAGES, TEXT_ENCODER) if name.startswith(incomplete)]

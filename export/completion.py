"""Shell completion of the names of stages."""

from __future__ import annotations


def stages_like(incomplete: str) -> list[str]:
    """List the stages with this prefix, for --stage."""
    # The list of the runtime, because the list of the exporter imports torch, which takes seconds.
    from odise_trt.executor import IMAGE_STAGES
    from odise_trt.text_table import TEXT_ENCODER

    return [name for name in (*IMAGE_STAGES, TEXT_ENCODER) if name.startswith(incomplete)]

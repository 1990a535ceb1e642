"""Shell completion of the names of stages."""

from __future__ import annotations


def stages_like(incomplete: str) -> list[str]:
    """List the stages with this prefix, for --stage."""
    # The list of the runtime, because the list of the exporter imports torch, which takes seconds.
    from odise_trt.executor import IMAGE_STAGES
    from odise_trt.text_table import TEXT_ENCODER

    names = (*IMAGE_STAGES, TEXT_ENCODER, *optional_stages_like(""))
    return [name for name in names if name.startswith(incomplete)]


def optional_stages_like(incomplete: str) -> list[str]:
    """List the optional stages with this prefix, for --with."""
    from odise_trt.features.names import RAW_STAGE

    return [name for name in (RAW_STAGE,) if name.startswith(incomplete)]

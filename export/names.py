"""Names that a person may mistype: of presets, stages and the like."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from odise_trt.errors import ExportError

EMPTY = "leave the option out, or give it a value; a variable of the shell that is not set is empty"


def require_known(name: str, names: Collection[str], kind: str) -> None:
    """Raise unless `name` is one of `names`.

    Args:
        kind: what they are: "preset".

    Raises:
        ExportError: it is not; the hint has the name that was most likely meant, and all of them.
    """
    if name in names:
        return
    if not name.strip():
        raise ExportError(f"an empty value was given for --{kind}", EMPTY)
    spelt = {one.lower().replace("_", "-"): one for one in names}
    if (parts := name.replace(",", " ").split()) and len(parts) > 1 and set(parts) <= set(names):
        each = " ".join(f"--{kind} {part}" for part in parts)
        raise ExportError(f"--{kind} takes one name at a time, not {name!r}", f"write {each}")
    close = get_close_matches(name.strip().lower().replace("_", "-"), spelt, n=1)
    meant = f"did you mean {spelt[close[0]]}? " if close else ""
    raise ExportError(f"there is no {kind} {name!r}", f"{meant}{kind}s: {', '.join(names)}")


def stages_like(incomplete: str) -> list[str]:
    """The stages whose names begin so: what the shell offers for --stage."""
    # The runtime's list: the exporter's imports torch, which takes seconds.
    from odise_trt.executor import IMAGE_STAGES
    from odise_trt.text_table import TEXT_ENCODER

    return [name for name in (*IMAGE_STAGES, TEXT_ENCODER) if name.startswith(incomplete)]

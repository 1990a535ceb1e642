"""Names that a person may mistype: of presets, stages and the like."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from odise_trt.errors import OdiseError

EMPTY = "leave the option out, or give it a value; a variable of the shell that is not set is empty"


def require_known(name: str, names: Collection[str], kind: str, error: type[OdiseError]) -> None:
    """Raise unless `name` is one of `names`.

    Args:
        kind: what they are: "preset".
        error: raised if it is none; the hint has the name that was most likely meant, and all of them.
    """
    if name in names:
        return
    if not name.strip():
        raise error(f"an empty value was given for --{kind}", EMPTY)
    spelt = {one.lower().replace("_", "-"): one for one in names}
    if (parts := name.replace(",", " ").split()) and len(parts) > 1 and set(parts) <= set(names):
        each = " ".join(f"--{kind} {part}" for part in parts)
        raise error(f"--{kind} takes one name at a time, not {name!r}", f"write {each}")
    close = get_close_matches(name.strip().lower().replace("_", "-"), spelt, n=1)
    meant = f"did you mean {spelt[close[0]]}? " if close else ""
    raise error(f"there is no {kind} {name!r}", f"{meant}{kind}s: {', '.join(names)}")

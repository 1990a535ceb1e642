"""Checks of names that a person may mistype, as those of presets and stages."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from odise_trt.errors import OdiseError

#: The source of weights that stands for the published ones, once they are downloaded and converted.
OFFICIAL = "official"
EMPTY = "leave the option out, or give it a value; a variable of the shell that is not set is empty"


def require_known(name: str, names: Collection[str], kind: str, error: type[OdiseError]) -> None:
    """Raise `error` unless `name` is one of `names`.

    Args:
        kind: the kind of the names, as "preset".
        error: the class of the error. Its hint has the most similar name, and all names.
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

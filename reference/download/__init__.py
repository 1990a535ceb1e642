"""The published files of ODISE: where they are, finding them on this machine, and fetching them with consent.

`find` looks for a file, `fetch` gets what is missing. Nothing here imports PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from odise_trt.lazy import lazy_names

if TYPE_CHECKING:
    from .artefacts import ARTEFACTS, OF_PRESET, Artefact, Licence, artefacts_of
    from .consent import Consent, accepted
    from .fetching import fetch
    from .places import find
    from .reporter import Reporter
    from .transfer import Patience

__all__ = [
    "ARTEFACTS",
    "OF_PRESET",
    "Artefact",
    "Consent",
    "Licence",
    "Patience",
    "Reporter",
    "accepted",
    "artefacts_of",
    "fetch",
    "find",
]

_HOMES = {
    "ARTEFACTS": ".artefacts",
    "OF_PRESET": ".artefacts",
    "Artefact": ".artefacts",
    "Consent": ".consent",
    "Licence": ".artefacts",
    "Patience": ".transfer",
    "Reporter": ".reporter",
    "accepted": ".consent",
    "artefacts_of": ".artefacts",
    "fetch": ".fetching",
    "find": ".places",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)

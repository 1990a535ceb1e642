"""Consent to licences, before a byte is fetched, and the record of it beside each file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from odise_trt.files.writing import write_file
from reference.errors import DownloadError

from .artefacts import Artefact, Licence

#: Is shown the files that would be fetched. Returns how their licences were accepted, for the record; raises
#: DownloadError if they were not.
Consent = Callable[[Sequence[Artefact]], str]
#: The suffix of the record: `sd-v1-3.ckpt.licence.json`.
RECORD = ".licence.json"


def accepted(how: str) -> Consent:
    """Return the consent of somebody who has read the licences before.

    Args:
        how: where they said so, for the record, as "--accept-licenses".
    """
    return lambda artefacts: how


def ask(artefacts: Sequence[Artefact], question: Callable[[str], str]) -> str:
    """Ask for consent, licence by licence.

    Args:
        question: shows a text, and returns what is typed.

    Raises:
        DownloadError: a licence was not accepted.
    """
    for licence in licences(artefacts):
        try:
            answer = question(f"{licence.name}, {licence.url}\nType yes to accept it: ")
        except EOFError:
            answer = ""
        if answer.strip().lower() != "yes":
            raise DownloadError(
                f"the licence {licence.name} was not accepted, and nothing was fetched",
                "run the command again and type yes, or get the files by hand",
            )
    return "typed on a terminal"


def nobody_to_ask(artefacts: Sequence[Artefact]) -> DownloadError:
    """Return the error where there is no terminal to ask on, and consent was not given beforehand."""
    names = ", ".join(licence.name for licence in licences(artefacts))
    return DownloadError(
        f"{names}: nobody accepted what is above, and nothing was fetched",
        "there is no terminal to ask on: read the licences, then give --accept-licenses",
    )


def licences(artefacts: Sequence[Artefact]) -> list[Licence]:
    """Return the licences of some files, each once."""
    return list(dict.fromkeys(artefact.licence for artefact in artefacts))


def write_record(artefact: Artefact, place: Path, url: str, sha256: str, how: str) -> None:
    """Write what was accepted beside a fetched file.

    Args:
        place: of the file.
        url: where it was fetched.
        how: what a `Consent` returned.

    Raises:
        OutputError: the record cannot be written.
    """
    licence = artefact.licence
    record = {
        "artefact": artefact.name,
        "file": artefact.file,
        "url": url,
        "sha256": sha256,
        "licence": {"name": licence.name, "url": licence.url, "restriction": licence.restriction},
        "accepted": {"how": how, "when": datetime.now(UTC).isoformat(timespec="seconds")},
    }
    write_file(place.with_name(place.name + RECORD), f"{json.dumps(record, indent=1)}\n".encode())

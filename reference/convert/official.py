"""The published files of a preset: found on this machine or fetched, and converted if they were not yet."""

from __future__ import annotations

from pathlib import Path

from odise_trt.errors import WeightsError
from reference.alone import alone
from reference.download import ARTEFACTS, OF_PRESET, Consent, fetch, find
from reference.download.reporter import SILENT, Reporter
from reference.weights.place import official_file, weights_folder

_OPTIONS = ("--odise", "--sd", "--clip")


def found(
    preset: str,
    odise: Path | None,
    sd: Path | None,
    clip: Path | None,
    *,
    frozen: bool = False,
    reporter: Reporter = SILENT,
) -> tuple[Path | None, Path, Path]:
    """Return the three files of a conversion. Those that are not given are looked for on this machine.

    Args:
        frozen: the first one is not needed, and None.

    Raises:
        WeightsError: one of them is nowhere.
    """
    given = dict(zip(_OPTIONS, (odise, sd, clip), strict=True))
    names = dict(zip(_OPTIONS, OF_PRESET.get(preset, ()), strict=False))
    if frozen:
        del given["--odise"]
    for option, path in given.items():
        if path is None and option in names:
            given[option] = find(ARTEFACTS[names[option]], reporter=reporter)
    missing = [option for option, path in given.items() if path is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        fetched = f", or run odise-trt download {preset}" if names else ""
        raise WeightsError(f"{', '.join(missing)} {verb} missing", f"give the path{fetched}")
    first = given.get("--odise")
    second, third = given["--sd"], given["--clip"]
    assert second is not None
    assert third is not None
    return first, second, third


def provide(preset: str, consent: Consent, reporter: Reporter = SILENT) -> Path:
    """Return the converted file of a published preset. What is missing is fetched and converted first.

    A second process that wants the same file waits for the first.

    Args:
        consent: see `reference.download.fetch`. It is not called if nothing is to be fetched.

    Raises:
        DownloadError: a licence was not accepted, or a file could not be fetched.
        WeightsError: there are no published weights of that preset, or a file is not what was published.
        OutputError: there is no room, or the file cannot be written.
    """
    from reference.convert.convert import Inputs, convert

    path = official_file(preset)
    if path.is_file():
        return path
    files = fetch([preset], weights_folder(), consent, reporter=reporter)
    odise, sd, clip = (files[name] for name in OF_PRESET[preset])
    path.parent.mkdir(parents=True, exist_ok=True)
    with alone(path, reporter.note, "conversion"):
        if not path.is_file():
            reporter.note(f"converting into {path}")
            convert(preset, Inputs(odise, sd, clip), path, reporter=reporter)
    return path

"""The published files of a preset: where they are, and their conversion when it has not been done yet."""

from __future__ import annotations

from pathlib import Path

from odise_trt.errors import WeightsError


def found(
    preset: str, odise: Path | None, sd: Path | None, clip: Path | None, *, frozen: bool = False
) -> tuple[Path | None, Path, Path]:
    """Return the three files of a conversion. Those that are not given are looked for.

    Raises:
        WeightsError: one of them is nowhere.
    """
    missing = [
        option
        for option, path in (("--odise", odise), ("--sd", sd), ("--clip", clip))
        if path is None and not (frozen and option == "--odise")
    ]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise WeightsError(
            f"{', '.join(missing)} {verb} missing", f"give the files, or run odise-trt download {preset}"
        )
    assert sd is not None
    assert clip is not None
    return odise, sd, clip

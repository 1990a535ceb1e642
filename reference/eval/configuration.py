"""Compare configurations, so that a folder never mixes predictions of several models or datasets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from odise_trt.errors import OutputError
from reference.datasets.json_rows import read_json, shown
from reference.errors import DatasetError

OTHER_PLACE = "choose another folder with --output, or remove this one"
#: The number of threads does not change predictions.
_THREADS = "predictor.runs_on.threads"


def check_same(path: Path, now: Mapping[str, Any]) -> None:
    """Raise OutputError unless a folder's predictions have the present configuration.

    Args:
        path: the file with the folder's configuration.
        now: the present configuration, as JSON.
    """
    try:
        before = read_json(path)
        if not isinstance(before, dict):
            raise DatasetError(f"{path} is {shown(before)}")
    except DatasetError as error:
        raise OutputError(
            f"{error.message}: it was damaged or changed",
            f"remove the folder {path.parent} and start again: this file says what its predictions are of",
        ) from error
    differences = list(_differences(before, now))
    if differences:
        raise OutputError(
            f"{path.parent} has predictions of another configuration ({'; '.join(differences)})", OTHER_PLACE
        )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], within: str = "") -> Iterator[str]:
    """Yield each difference with its name: "predictor.precision: fp32, now fp16"."""
    for key in {**before, **now}:
        name = f"{within}{key}"
        old, new = before.get(key), now.get(key)
        if name == _THREADS or old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{name}.")
        else:
            yield f"{name}: {_text(old)}, now {_text(new)}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else shown(value)

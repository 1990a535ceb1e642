"""Writes the record of a benchmark as a JSON file. It replaces only an older record of the same benchmark."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from odise_trt.errors import OutputError
from odise_trt.files.output import prepare_folder
from odise_trt.files.writing import write_together


def check_place(path: Path, keys: frozenset[str]) -> None:
    """Raise OutputError unless a record can be written. Call it before the measurement.

    Args:
        path: path of the record.
        keys: keys of the record. A file without them is not a record of this benchmark.
    """
    prepare_folder(path.parent)
    if os.path.lexists(path):
        _keep_others(path, keys)


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record, whole or not at all.

    Raises:
        OutputError: it cannot be written, or the existing file is not a record of this benchmark.
    """
    content = (json.dumps(record, indent=1) + "\n").encode()
    write_together(path.parent, {path.name: content}, keep=lambda old: _keep_others(old, frozenset(record)))


def _keep_others(path: Path, keys: frozenset[str]) -> None:
    try:
        there = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        there = None
    if not isinstance(there, dict) or not keys <= there.keys():
        raise OutputError(
            f"{path} is not a record of this benchmark", "move it away, or give another --output"
        )

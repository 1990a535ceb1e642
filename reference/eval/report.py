"""The report of one evaluation: its numbers, what was evaluated, and on which images."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from odise_trt.errors import OutputError
from odise_trt.files.writing import write_together
from reference.datasets.json_rows import read_json
from reference.errors import DatasetError
from reference.eval.record_forms import REPORT as REPORT_FORM

REPORT = "report.json"


@dataclass(frozen=True)
class Report:
    """The result of `evaluate`.

    Attributes:
        name: of the predictor, for tables.
        predictor: `Predictor.identity`: weights or bundle, precision, backend and device.
        dataset: "name", "images" (number of evaluated images), "of" (number of images in the dataset),
            "images_sha256" (hash of the ids and pixels of the evaluated images).
        tasks: the evaluated tasks.
        metrics: percentages by name, see docs/evaluation.md; None if the truth has nothing to score.
        categories: one row per category, "name" and "isthing" first.
        seconds: per image, from the pixels in memory to all results: "median", "mean", "images".
        versions: of the software.
    """

    name: str
    predictor: Mapping[str, Any]
    dataset: Mapping[str, Any]
    tasks: Sequence[str]
    metrics: Mapping[str, float | None]
    categories: Sequence[Mapping[str, Any]]
    seconds: Mapping[str, float]
    versions: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """The content of `report.json`."""
        return asdict(self)

    def save(self, folder: Path) -> Path:
        """Write `report.json`, whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n"
        (path,) = write_together(folder, {REPORT: text.encode(errors="backslashreplace")})
        return path

    @classmethod
    def read(cls, path: Path) -> Report:
        """Read a report that `save` has written.

        Args:
            path: the file, or its folder.

        Raises:
            OutputError: the file cannot be read, or is not a report.
        """
        path = path / REPORT if os.path.isdir(path) else path
        try:
            facts = read_json(path)
            REPORT_FORM.check(facts, str(path))
        except DatasetError as error:
            raise OutputError(
                f"{error.message}: it is no report that can be read",
                f"remove {path}, and evaluate again: predictions that are stored are not made again",
            ) from error
        known = {one.name for one in fields(cls)}
        return cls(**{**{key: facts[key] for key in known}, "tasks": tuple(facts["tasks"])})

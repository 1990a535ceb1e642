"""The JSON of results, as far as it tells whose they are."""

from __future__ import annotations

import json
from pathlib import Path


def results_beside(about: Path, file_name: str, source: str | None = None) -> None:
    """Write it."""
    image = {"id": 1, "file_name": file_name} | ({"source": source} if source else {})
    about.write_text(json.dumps({"info": {"description": "segmented by odise-trt"}, "images": [image]}))

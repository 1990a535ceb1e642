"""Panoptic results as detectron2 has them: a map of ids, and a list about its segments.

The facts are those of detectron2's documentation of model outputs ("panoptic_seg") and of Mask2Former, from
which ODISE takes its panoptic results. detectron2 is not needed.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ArgumentError, OdiseError, hint_for, reason
from .files.paths import expanded, text_of
from .segments import SegmentedImage

#: Ending of the file that `odise-trt run --detectron2` writes.
ENDING = ".detectron2.npz"
_MAP, _SEGMENTS, _NAMES = "panoptic_seg", "segments_info", "category_names"

#: The map int32 (H, W), and a dict per segment.
Form = tuple[np.ndarray, list[dict[str, Any]]]


def to_detectron2(result: SegmentedImage) -> Form:
    """Return `Result.to_detectron2`.

    Raises:
        ArgumentError: the result is not panoptic.
    """
    if result.panoptic is None:
        raise ArgumentError(
            f"a result of the task {result.task} has no panoptic_seg", "segment with the task panoptic"
        )
    segments = [
        {
            "id": segment.id,
            "isthing": segment.isthing,
            "category_id": segment.category_id,
            "score": segment.score,
            "area": segment.area,
        }
        for segment in result.segments
    ]
    return result.panoptic, segments


def encode(result: SegmentedImage) -> bytes:
    """Return the content of the .npz file: the map, and as JSON the segments and the names of the categories.

    Raises:
        ArgumentError: the result is not panoptic.
    """
    panoptic, segments = to_detectron2(result)
    buffer = io.BytesIO()
    arrays = {
        _MAP: panoptic,
        _SEGMENTS: np.array(json.dumps(segments)),
        _NAMES: np.array(json.dumps(list(result.vocabulary.names))),
    }
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def read(path: str | os.PathLike[str]) -> Form:
    """Read the file of `odise-trt run --detectron2`, as `Result.to_detectron2` returns it.

    Raises:
        OdiseError: it cannot be read, or is another file.
    """
    place = Path(expanded(text_of(path)))
    try:
        with place.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return archive[_MAP], json.loads(str(archive[_SEGMENTS]))
    except OSError as error:
        raise OdiseError(f"{place} cannot be read: {reason(error)}", hint_for(error)) from error
    except Exception as error:  # damage can surface as nearly anything in zipfile and numpy
        raise OdiseError(
            f"{place} is no result in detectron2's form: {error}", "write it with odise-trt run --detectron2"
        ) from error

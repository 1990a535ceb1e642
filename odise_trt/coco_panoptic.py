"""Results as files, in COCO's panoptic format (a PNG of ids and a JSON about them); see docs/cli.md.

The format is that of cocodataset/panopticapi: a pixel's id is R + 256 G + 65536 B, 0 is void.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .errors import ImageError, OutputError
from .output import write_together
from .result import Box, Result


def encode_ids(ids: np.ndarray) -> np.ndarray:
    """int (H, W) of ids below 2**24 -> uint8 (H, W, 3)."""
    if ids.size and (ids.min() < 0 or ids.max() >= 1 << 24):
        raise ValueError(f"ids must be from 0 to {(1 << 24) - 1}, these are {ids.min()} to {ids.max()}")
    return np.stack([(ids >> shift & 255).astype(np.uint8) for shift in (0, 8, 16)], axis=-1)


def decode_ids(colors: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) -> int32 (H, W), the inverse of `encode_ids`."""
    wide = colors.astype(np.int32)
    return wide[..., 0] | wide[..., 1] << 8 | wide[..., 2] << 16


def read_ids(path: str | Path) -> np.ndarray:
    """The map int32 (H, W) of a panoptic PNG.

    Raises:
        ImageError: the file cannot be read, or is no RGB picture.
    """
    try:
        with Image.open(path) as image:
            if image.mode != "RGB":
                raise ImageError(f"{path} is no panoptic map: its pixels are {image.mode}, not RGB")
            return decode_ids(np.asarray(image))
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error}") from error


def encode_rle(mask: np.ndarray) -> dict[str, list[int]]:
    """COCO's uncompressed run-length encoding of a mask.

    Args:
        mask: bool (H, W).

    Returns:
        {"size": [H, W], "counts": [...]}: lengths of runs down the columns, the first one of zeros.
    """
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    bounds = np.concatenate([[0], changes, [flat.size]])
    counts: list[int] = np.diff(bounds).tolist()
    if flat.size and flat[0]:
        counts.insert(0, 0)
    return {"size": [int(side) for side in mask.shape], "counts": counts}


def decode_rle(rle: Mapping[str, Any]) -> np.ndarray:
    """bool (H, W), the inverse of `encode_rle`."""
    counts = np.asarray(rle["counts"], dtype=np.int64)
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(tuple(rle["size"]), order="F")


def id_map(result: Result) -> np.ndarray:
    """The ids of the PNG, int32 (H, W), 0 where there is nothing.

    Ids of segments (panoptic), category ids (semantic), or positions from 1 in the list of objects, the best
    one on top (instance).
    """
    if result.panoptic is not None:
        return result.panoptic
    if result.semantic is not None:
        return result.semantic + 1
    ids = np.zeros(result.image.shape[:2], dtype=np.int32)
    for number, instance in reversed(list(enumerate(result.instances or (), 1))):
        ids[instance.mask] = number
    return ids


def to_json(result: Result, name: str, file_name: str | None = None) -> dict[str, Any]:
    """What goes into `<name>.json`.

    Args:
        name: of the files; the image's id, as a number if it is one (as COCO's file names are).
        file_name: of the image that was segmented; None: `name`.
    """
    height, width = result.image.shape[:2]
    image_id = int(name) if name.isascii() and name.isdigit() else name
    return {
        "info": {
            "description": "segmented by odise-trt",
            "task": result.task,
            **result.provenance,
            "timings": {stage: round(seconds, 6) for stage, seconds in result.timings.items()},
        },
        "images": [{"id": image_id, "file_name": file_name or name, "height": height, "width": width}],
        "annotations": _annotations(result, image_id, f"{name}.panoptic.png"),
        "categories": [
            {
                "id": number,
                "name": category.name,
                "names": list(category.names),
                "isthing": int(category.isthing),
            }
            for number, category in enumerate(result.vocabulary, 1)
        ],
    }


def save_result(
    result: Result, folder: Path, name: str, file_name: str | None = None
) -> tuple[Path, Path, Path]:
    """Write the three files of `Result.save`.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    if not name:
        raise OutputError("the name of the files is empty", "give one")
    text = _dump(to_json(result, name, file_name))
    overlay, panoptic, about = write_together(
        folder,
        {
            f"{name}.overlay.png": _png(result.overlay()),
            f"{name}.panoptic.png": _png(Image.fromarray(encode_ids(id_map(result)))),
            # A name that is not UTF-8 on the disk has surrogates in Python; this is JSON's way to write them.
            f"{name}.json": text.encode(errors="backslashreplace"),
        },
    )
    return overlay, panoptic, about


def _annotations(result: Result, image_id: int | str, file_name: str) -> list[dict[str, Any]]:
    if result.instances is not None:
        return [
            {
                "id": number,
                "image_id": image_id,
                "category_id": instance.category_id + 1,
                "score": round(instance.score, 6),
                "area": instance.area,
                "bbox": list(instance.bbox),
                "iscrowd": 0,
                "segmentation": encode_rle(instance.mask),
            }
            for number, instance in enumerate(result.instances, 1)
        ]
    rows = _category_rows(result.semantic) if result.semantic is not None else _segment_rows(result)
    return [{"image_id": image_id, "file_name": file_name, "segments_info": rows}]


def _segment_rows(result: Result) -> list[dict[str, Any]]:
    return [
        {
            "id": segment.id,
            "category_id": segment.category_id + 1,
            "area": segment.area,
            "bbox": list(segment.bbox),
            "iscrowd": 0,
            "score": round(segment.score, 6),
        }
        for segment in result.segments
    ]


def _category_rows(semantic: np.ndarray) -> list[dict[str, Any]]:
    rows = []
    for category in np.unique(semantic[semantic >= 0]).tolist():
        mask = semantic == category
        rows.append(
            {
                "id": category + 1,
                "category_id": category + 1,
                "area": int(np.count_nonzero(mask)),
                "bbox": list(_bounds(mask)),
                "iscrowd": 0,
            }
        )
    return rows


def _bounds(mask: np.ndarray) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _dump(data: Mapping[str, Any]) -> str:
    """JSON with one row of a list per line: to be read by people as well, and compared by diff."""
    parts = []
    for key, value in data.items():
        text = json.dumps(value, ensure_ascii=False)
        if isinstance(value, list) and value:
            rows = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in value)
            text = f"[\n  {rows}\n ]"
        parts.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"

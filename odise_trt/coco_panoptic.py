"""Results as files in COCO's panoptic format: a PNG of ids and a JSON about them. See docs/cli.md.

The format is that of cocodataset/panopticapi: a pixel's id is R + 256 G + 65536 B, 0 is void.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .detectron2_form import ENDING, encode
from .errors import ArgumentError, ImageError, OutputError
from .files.output_names import fitting
from .files.own_results import DESCRIPTION, Picture, digest_of, files_of, is_stream, keeper, source_of
from .files.paths import real_path
from .files.writing import write_together
from .pictures.encode import image_bytes
from .pictures.image_file import open_picture
from .result_json import categories, in_lines, last_categories
from .segments import SegmentedImage, bounding_box

# Lossy formats. They change pixels a little, and so change the ids.
_LOSSY = ("JPEG", "MPO", "AVIF", "HEIF")
_COLOURS = ("RGB", "RGBA", "P")
# Compression by runs alone. zlib's default search takes five times as long and saves 7 % of an overlay.
_RUNS = zlib.Z_RLE
# Pillow's modes -> words for messages.
_MODES = {"L": "gray", "LA": "gray", "1": "black and white", "I;16": "gray (16 bits)", "I": "gray (32 bits)"}


def encode_ids(ids: np.ndarray) -> np.ndarray:
    """Convert ids int (H, W), below 2**24, to colours uint8 (H, W, 3)."""
    if ids.size and (ids.min() < 0 or ids.max() >= 1 << 24):
        raise ValueError(f"ids must be from 0 to {(1 << 24) - 1}, these are {ids.min()} to {ids.max()}")
    return np.stack([(ids >> shift & 255).astype(np.uint8) for shift in (0, 8, 16)], axis=-1)


def decode_ids(colors: np.ndarray) -> np.ndarray:
    """Convert colours uint8 (H, W, 3) to ids int32 (H, W), the inverse of `encode_ids`."""
    wide = colors.astype(np.int32)
    return wide[..., 0] | wide[..., 1] << 8 | wide[..., 2] << 16


def read_ids(path: str | Path) -> np.ndarray:
    """Read the ids int32 (H, W) of a panoptic PNG.

    An alpha channel is ignored. A palette is replaced by its colours, since PNG optimisers make palettes.

    Raises:
        ImageError: the file cannot be read, is damaged, or is not an RGB picture.
    """
    with open_picture(path, str(path)) as image:
        if image.format in _LOSSY or _is_lossy_webp(image):
            raise ImageError(
                f"{path} is no panoptic map: {image.format} changes the ids", "save the map as PNG"
            )
        if image.mode not in _COLOURS:
            raise ImageError(
                f"{path} is no panoptic map: its pixels are {_MODES.get(image.mode, image.mode)}, not RGB",
                "a pixel's id is R + 256 G + 65536 B: odise_trt.coco_panoptic.encode_ids makes such pixels "
                "of an array of ids",
            )
        colours = image.convert("RGB") if image.mode == "P" else image
        return decode_ids(np.asarray(colours)[..., :3])


def _is_lossy_webp(image: Image.Image) -> bool:
    """Whether the image is a lossy WebP, judged by its chunks."""
    file = getattr(image, "fp", None)
    if image.format != "WEBP" or file is None:
        return False
    file.seek(0)
    return b"VP8L" not in file.read()


def segment_row(number: int, category_id: int, mask: np.ndarray, iscrowd: bool = False) -> dict[str, Any]:
    """Return the entry of a segment in a panoptic JSON.

    Args:
        number, category_id: the segment's id in the map, and the id of its category.
        mask: bool (H, W), not empty.
        iscrowd: whether the segment stands for several objects that were not annotated one by one.
    """
    return {
        "id": number,
        "category_id": category_id,
        "area": int(np.count_nonzero(mask)),
        "bbox": list(bounding_box(mask)),
        "iscrowd": int(iscrowd),
    }


def encode_rle(mask: np.ndarray) -> dict[str, list[int]]:
    """Encode a mask by COCO's uncompressed run-length encoding.

    Args:
        mask: bool (H, W).

    Returns:
        {"size": [H, W], "counts": [...]}: lengths of runs down the columns. The first run is of zeros.
    """
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    bounds = np.concatenate([[0], changes, [flat.size]])
    counts: list[int] = np.diff(bounds).tolist()
    if flat.size and flat[0]:
        counts.insert(0, 0)
    return {"size": [int(side) for side in mask.shape], "counts": counts}


def decode_rle(rle: Mapping[str, Any]) -> np.ndarray:
    """Decode a mask bool (H, W), the inverse of `encode_rle`."""
    counts = np.asarray(rle["counts"], dtype=np.int64)
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(tuple(rle["size"]), order="F")


def to_json(
    result: SegmentedImage,
    name: str,
    file_name: str | None = None,
    source: str | None = None,
    pixels: str | None = None,
) -> dict[str, Any]:
    """Return the content of `<name>.json`.

    Args:
        name: name of the files. It is also the image's id, as a number if it is one (as COCO's names are).
        file_name: file name of the segmented image. None: `name`.
        source, pixels: what identifies the image among others of that name, see `own_results.Origin`. None:
            omitted.
    """
    return _about(result, name, file_name, source, pixels) | {"categories": categories(result.vocabulary)}


def _about(
    result: SegmentedImage, name: str, file_name: str | None, source: str | None, pixels: str | None
) -> dict[str, Any]:
    """Return the content of `to_json` without the categories."""
    height, width = result.image.shape[:2]
    image_id = int(name) if name.isascii() and name.isdigit() else name
    return {
        "info": {
            "description": DESCRIPTION,
            "task": result.task,
            **result.provenance,
            "timings": {stage: round(seconds, 6) for stage, seconds in result.timings.items()},
        },
        "images": [
            {
                "id": image_id,
                "file_name": file_name or name,
                **({} if source is None else {"source": source}),
                **({} if pixels is None else {"pixels": pixels}),
                "height": height,
                "width": width,
            }
        ],
        "annotations": _annotations(result, image_id, f"{name}.panoptic.png"),
    }


def save_result(
    result: SegmentedImage,
    folder: Path,
    name: str,
    file_name: str | None = None,
    *,
    overwrite: bool = False,
    detectron2: bool = False,
) -> tuple[Path, ...]:
    """Write the files of `Result.save`.

    Raises:
        ArgumentError, OutputError: as `Result.save`.
    """
    from .visualize import draw_overlay

    if not isinstance(name, str):
        raise ArgumentError(f"name must be a str, not {type(name).__name__}", "a number becomes one by str()")
    if not name:
        raise OutputError("the name of the files is empty", "give one")
    name = fitting(name)
    form = {name + ENDING: encode(result)} if detectron2 else {}
    file = None if result.source is None or is_stream(result.source) else result.source
    source = None if file is None else source_of(file, folder)
    pixels = digest_of(result.image)
    picture = Picture(file_name or (result.source.name if result.source else name), source, lambda: pixels)
    _keep_source(result, folder, name)
    about = _about(result, name, picture.file_name, source, pixels)
    text = in_lines(about, last_categories.of(result.vocabulary))
    contents = (
        # A name that is not UTF-8 on the disk has surrogates in Python. JSON writes them as escapes.
        text.encode(errors="backslashreplace"),
        image_bytes(draw_overlay(result), compress_type=_RUNS),
        image_bytes(encode_ids(result.id_map()), compress_type=_RUNS),
    )
    # The JSON is written first. If the process is killed in between, it identifies the other files.
    described, overlay, panoptic, *more = write_together(
        folder,
        dict(zip(files_of(name), contents, strict=True)) | form,
        keep=None if overwrite else keeper(folder, name, picture),
    )
    return overlay, panoptic, described, *more


def _keep_source(result: SegmentedImage, folder: Path, name: str) -> None:
    if result.source is None:
        return
    for file in files_of(name):
        if real_path(folder / file) == real_path(result.source):
            raise OutputError(
                f"{folder / file} is the picture that was segmented, and would be replaced",
                "choose another folder with --output, or another name",
            )


def _annotations(result: SegmentedImage, image_id: int | str, file_name: str) -> list[dict[str, Any]]:
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


def _segment_rows(result: SegmentedImage) -> list[dict[str, Any]]:
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
    categories = np.unique(semantic[semantic >= 0]).tolist()
    return [segment_row(category + 1, category + 1, semantic == category) for category in categories]

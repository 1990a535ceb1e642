"""Write one scene as a picture, with its truth beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from odise_trt.coco_panoptic import encode_ids
from odise_trt.errors import OutputError
from odise_trt.files.writing import write_together
from odise_trt.pictures.encode import image_bytes

from .scene import SCENE_VOCABULARY, Scene

_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}


def write_scene(scene: Scene, path: Path, *, truth: bool = False, overwrite: bool = False) -> Path:
    """Write all files of a scene, or none.

    Args:
        path: of the picture; its suffix decides the format.
        truth: also write `<name>.panoptic.png` and `<name>.json`.
        overwrite: replace files with other content.

    Raises:
        OutputError: the suffix is not that of a picture format, a file exists with other content, or a file
            cannot be written.
    """
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise OutputError(
            f"{path} has no suffix of a picture that can be written", f"use one of: {', '.join(_FORMATS)}"
        )
    contents = {path.name: image_bytes(scene.image, kind)}
    if truth:
        rows = [asdict(one) | {"name": SCENE_VOCABULARY[one.category_id].name} for one in scene.segments]
        contents[path.with_suffix(".panoptic.png").name] = image_bytes(encode_ids(scene.panoptic), "PNG")
        contents[path.with_suffix(".json").name] = (json.dumps(rows, indent=1) + "\n").encode()
    write_together(path.parent, contents, keep=None if overwrite else _keeper(contents))
    return path


def _keeper(contents: Mapping[str, bytes]) -> Callable[[Path], None]:
    def keep(path: Path) -> None:
        try:
            same = path.read_bytes() == contents[path.name]
        except OSError:
            same = False
        if not same:
            raise OutputError(
                f"{path} exists and holds something else", "give another --output, or --overwrite"
            )

    return keep

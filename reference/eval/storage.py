"""Predictions on disk, in COCO's formats, image by image: an evaluation that was cut off goes on from there.

predictions.json      what made them, and for which categories of which dataset
records/NAME.json     what is known of one image, its hash too; written last, so if it is there, all is
panoptic/NAME.png     the map of segment ids (R + 256 G + 65536 B), 0: none
semantic/NAME.png     category plus one, 0: none; 16 bits from 256 categories on
panoptic.json         COCO's panoptic results, of all images together
instances.json        COCO's detection results, of all images together
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image

from odise_trt.coco_panoptic import encode_ids, read_ids
from odise_trt.errors import ImageError, OutputError
from odise_trt.output import prepare_folder, write_together
from odise_trt.vocabulary import Vocabulary
from reference.eval.prediction import Detection, Prediction, Region

CONFIGURATION = "predictions.json"
_FORMAT = 2
_OTHER_PLACE = "choose another folder with --output, or remove this one"


@dataclass(frozen=True)
class Stored:
    """A prediction, and how long it took.

    Attributes:
        seconds: from the image in memory to all results.
    """

    prediction: Prediction
    seconds: float


class PredictionFolder:
    """Where predictions of one predictor for one dataset are kept."""

    def __init__(
        self,
        folder: Path,
        vocabulary: Vocabulary,
        category_ids: Sequence[int],
        configuration: Mapping[str, Any],
    ) -> None:
        """Open a folder, or make it.

        Args:
            folder: where.
            vocabulary: of the dataset.
            category_ids: what the files call the categories.
            configuration: what made the predictions, as JSON; must be that of earlier ones in the folder.

        Raises:
            OutputError: it cannot be written to, or has predictions of another configuration.
        """
        self._folder = prepare_folder(folder)
        self._vocabulary = vocabulary
        self._ids = tuple(category_ids)
        self._categories = {number: category for category, number in enumerate(self._ids)}
        # Through JSON, so that what is compared is what is read back.
        now = json.loads(json.dumps({"format": _FORMAT, **configuration}))
        path = self._folder / CONFIGURATION
        if path.exists():
            _check_same(path, _read_json(path), now)
        else:
            write_together(self._folder, {CONFIGURATION: _json(now)})

    def load(self, image_id: int | str, image_sha256: str) -> Stored | None:
        """What was stored for an image; None: nothing, or not all of it.

        Args:
            image_id: as the dataset names it.
            image_sha256: see `sha256_of_image`.

        Raises:
            OutputError: a file cannot be read, or is about another picture.
        """
        name = file_name(image_id)
        path = self._folder / "records" / f"{name}.json"
        if not path.exists():
            return None
        record = _read_json(path)
        if record["image_sha256"] != image_sha256:
            raise OutputError(
                f"{self._folder} has a prediction for another picture by the id {image_id!r}", _OTHER_PLACE
            )
        maps = {kind: self._read_map(kind, name) for kind in record["maps"]}
        detections = record.get("instances")
        prediction = Prediction(
            panoptic=maps.get("panoptic"),
            regions=tuple(
                Region(row["id"], self._categories[row["category_id"]]) for row in record.get("panoptic", ())
            ),
            semantic=maps.get("semantic"),
            detections=None
            if detections is None
            else tuple(
                Detection(self._categories[row["category_id"]], row["score"], row["segmentation"])
                for row in detections
            ),
        )
        return Stored(prediction, record["seconds"])

    def save(self, image_id: int | str, image_sha256: str, size: tuple[int, int], stored: Stored) -> None:
        """Store the prediction for an image.

        Args:
            image_id, image_sha256: see `load`.
            size: height and width.
            stored: the prediction.

        Raises:
            OutputError: it cannot be written.
        """
        name, prediction = file_name(image_id), stored.prediction
        height, width = size
        record: dict[str, Any] = {
            "image_id": image_id,
            "image_sha256": image_sha256,
            "height": height,
            "width": width,
            "seconds": stored.seconds,
            "maps": [],
        }
        if prediction.panoptic is not None:
            record["maps"].append("panoptic")
            record["panoptic"] = [
                {"id": one.id, "category_id": self._ids[one.category]} for one in prediction.regions
            ]
            self._write_map("panoptic", name, encode_ids(prediction.panoptic))
        if prediction.semantic is not None:
            record["maps"].append("semantic")
            wide = np.uint8 if len(self._ids) < 256 else np.uint16
            self._write_map("semantic", name, (prediction.semantic + 1).astype(wide))
        if prediction.detections is not None:
            record["instances"] = [
                {"category_id": self._ids[one.category], "score": one.score, "segmentation": one.mask}
                for one in prediction.detections
            ]
        write_together(self._folder / "records", {f"{name}.json": _json(record)})

    def finish(self, image_ids: Iterable[int | str]) -> None:
        """Write the files about all images together, and remove what a killed run left behind.

        Raises:
            OutputError: a file cannot be written.
        """
        for unfinished in self._folder.glob("*/.*.tmp"):
            with suppress(OSError):
                unfinished.unlink()
        images, maps, objects = [], [], []
        kinds: set[str] = set()
        for image_id in image_ids:
            name = file_name(image_id)
            record = _read_json(self._folder / "records" / f"{name}.json")
            image = {"id": image_id, "file_name": name}
            images.append(image | {key: record[key] for key in ("height", "width")})
            kinds |= record.keys() & {"panoptic", "instances"}
            if "panoptic" in record:
                maps.append(
                    {"image_id": image_id, "file_name": f"{name}.png", "segments_info": record["panoptic"]}
                )
            objects += [{"image_id": image_id, **row} for row in record.get("instances", ())]
        files = {}
        if "panoptic" in kinds:
            about = {"images": images, "annotations": maps, "categories": self._category_rows()}
            files["panoptic.json"] = _json(about)
        if "instances" in kinds:
            files["instances.json"] = _json(objects)
        write_together(self._folder, files)

    def _category_rows(self) -> list[dict[str, Any]]:
        return [
            {"id": number, "name": category.name, "isthing": int(category.isthing)}
            for number, category in zip(self._ids, self._vocabulary, strict=True)
        ]

    def _write_map(self, kind: str, name: str, pixels: np.ndarray) -> None:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="PNG")
        write_together(self._folder / kind, {f"{name}.png": buffer.getvalue()})

    def _read_map(self, kind: str, name: str) -> np.ndarray:
        path = self._folder / kind / f"{name}.png"
        try:
            if kind == "panoptic":
                return read_ids(path)
            with Image.open(path) as image:
                return np.asarray(image).astype(np.int32) - 1
        except (OSError, ImageError) as error:
            raise OutputError(f"{path} cannot be read", f"remove {self._folder} and start again") from error


def sha256_of_image(image: np.ndarray) -> str:
    """Of the pixels of an image (H, W, 3), and of its size: the same bytes can be wide or high."""
    digest = hashlib.sha256(f"{image.dtype} {image.shape}".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def file_name(image_id: int | str) -> str:
    """The name of the files about an image, without suffix: COCO's for numbers, and for names what file
    systems allow of them."""
    return f"{image_id:012d}" if isinstance(image_id, int) else quote(image_id, safe=" ")


def _check_same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    differences = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if differences:
        shown = "; ".join(f"{key}: {before.get(key)}, now {now.get(key)}" for key in differences)
        raise OutputError(f"{path.parent} has predictions of another configuration ({shown})", _OTHER_PLACE)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} cannot be read: {error}", f"remove {path} and start again") from error


def _json(data: object) -> bytes:
    return (json.dumps(data, ensure_ascii=False) + os.linesep).encode()

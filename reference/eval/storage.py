"""Store predictions on disk, image by image, in COCO's formats. A stopped evaluation goes on from them.

predictions.json      the predictor, the dataset and its categories
records/NAME.json     facts about one image, with its hash; written after the image's other files
panoptic/NAME.png     the map of segment ids (R + 256 G + 65536 B), 0: no segment
semantic/NAME.png     the map of categories plus one, 0: no category; 8 bits, 16 bits from 256 categories on
panoptic.json         COCO's panoptic results of all images
instances.json        COCO's detection results of all images
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from odise_trt.coco_panoptic import encode_ids, read_ids
from odise_trt.errors import ImageError, OutputError
from odise_trt.files.output import prepare_folder
from odise_trt.files.writing import write_together
from odise_trt.pictures.encode import image_bytes
from odise_trt.pictures.image_file import open_picture
from odise_trt.vocabulary import Vocabulary
from reference.datasets.json_rows import read_json
from reference.datasets.prepare.encode import category_rows
from reference.errors import DatasetError
from reference.eval.configuration import OTHER_PLACE, check_same
from reference.eval.file_names import file_name
from reference.eval.prediction import Detection, Prediction, Region
from reference.eval.record_forms import RECORD

CONFIGURATION = "predictions.json"
_FORMAT = 2


class DamagedPredictionError(OutputError):
    """The stored prediction of one image is damaged or was edited. Once removed, it is predicted again."""


@dataclass(frozen=True)
class Stored:
    """A prediction with the time it took.

    Attributes:
        seconds: from the image in memory to the results of all tasks.
    """

    prediction: Prediction
    seconds: float


class PredictionFolder:
    """A folder with the predictions of one predictor for one dataset."""

    def __init__(
        self,
        folder: Path,
        vocabulary: Vocabulary,
        category_ids: Sequence[int],
        configuration: Mapping[str, Any],
    ) -> None:
        """Open the folder; create it if it does not exist.

        Args:
            folder: the path.
            vocabulary: of the dataset.
            category_ids: the ids of the categories in the files, in the order of the vocabulary.
            configuration: what decides the predictions, as JSON. It must equal that of earlier predictions
                in the folder. Every prediction has all of its "tasks".

        Raises:
            OutputError: the folder cannot be written to, or has predictions of another configuration.
        """
        self._folder = prepare_folder(folder)
        self._vocabulary = vocabulary
        self._tasks = set(configuration["tasks"])
        self._ids = tuple(category_ids)
        self._categories = {number: category for category, number in enumerate(self._ids)}
        # Through JSON, because it is compared with a configuration read from JSON.
        now = json.loads(json.dumps({"format": _FORMAT, **configuration}))
        path = self._folder / CONFIGURATION
        if os.path.lexists(path):
            check_same(path, now)
        elif _is_not_empty(self._folder / "records"):
            raise OutputError(
                f"{self._folder} has predictions, and no {path.name} that says what made them", OTHER_PLACE
            )
        else:
            write_together(self._folder, {CONFIGURATION: _json(now)})

    def load(self, image_id: int | str, image_sha256: str, size: tuple[int, int]) -> Stored | None:
        """Return the stored prediction of an image, or None if there is no record of it.

        Args:
            image_id: the dataset's id of the image.
            image_sha256: see `sha256_of_image`.
            size: height and width of the image.

        Raises:
            OutputError: the record is of another picture with the same id.
            DamagedPredictionError: a file cannot be read, or was edited.
        """
        name = file_name(image_id)
        if not os.path.lexists(self._record_path(name)):
            return None
        record = self._record(name)
        if record["image_sha256"] != image_sha256 or record["image_id"] != image_id:
            raise OutputError(
                f"{self._folder} has a prediction for another picture by the id {image_id!r}", OTHER_PLACE
            )
        parts = {*record["maps"], *(["instance"] if "instances" in record else [])}
        if not self._tasks <= parts or ("panoptic" in parts) != ("panoptic" in record):
            why = f"it does not have all of {', '.join(sorted(self._tasks))}"
            raise self._damaged(self._record_path(name), why, name)
        maps = {kind: self._read_map(kind, name, size) for kind in record["maps"]}
        detections = record.get("instances")
        if any(tuple(row["segmentation"]["size"]) != size for row in detections or ()):
            raise self._damaged(self._record_path(name), "a mask is of another size than its image", name)
        prediction = Prediction(
            panoptic=maps.get("panoptic"),
            regions=tuple(Region(row["id"], self._category(row, name)) for row in record.get("panoptic", ())),
            semantic=maps.get("semantic"),
            detections=None
            if detections is None
            else tuple(
                Detection(self._category(row, name), row["score"], row["segmentation"]) for row in detections
            ),
        )
        self._check_maps(prediction, name)
        return Stored(prediction, record["seconds"])

    def save(self, image_id: int | str, image_sha256: str, size: tuple[int, int], stored: Stored) -> None:
        """Store the prediction for an image.

        Args:
            image_id, image_sha256, size: see `load`.
            stored: the prediction.

        Raises:
            OutputError: a file cannot be written.
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
        """Write `panoptic.json` and `instances.json`.

        Raises:
            OutputError: a file cannot be written.
        """
        images, maps, objects = [], [], []
        kinds: set[str] = set()
        for image_id in image_ids:
            name = file_name(image_id)
            record = self._record(name)
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
            about = {
                "images": images,
                "annotations": maps,
                "categories": category_rows(self._vocabulary, self._ids),
            }
            files["panoptic.json"] = _json(about)
        if "instances" in kinds:
            files["instances.json"] = _json(objects)
        write_together(self._folder, files)

    def _write_map(self, kind: str, name: str, pixels: np.ndarray) -> None:
        write_together(self._folder / kind, {f"{name}.png": image_bytes(pixels)})

    def _read_map(self, kind: str, name: str, size: tuple[int, int]) -> np.ndarray:
        path = self._folder / kind / f"{name}.png"
        try:
            if kind == "panoptic":
                pixels = read_ids(path)
            else:
                with open_picture(path, str(path)) as image:
                    pixels = np.asarray(image).astype(np.int32) - 1
        except ImageError as error:
            raise self._damaged(path, error.message, name) from error
        if pixels.shape != size:
            raise self._damaged(path, f"its shape is {pixels.shape}, that of its image {size}", name)
        return pixels

    def _check_maps(self, prediction: Prediction, name: str) -> None:
        if prediction.panoptic is not None:
            ids = {one.id for one in prediction.regions}
            if len(ids) < len(prediction.regions) or set(np.unique(prediction.panoptic).tolist()) - ids - {0}:
                path = self._folder / "panoptic" / f"{name}.png"
                raise self._damaged(path, "it has segments that its record does not have", name)
        if prediction.semantic is not None and prediction.semantic.max(initial=0) >= len(self._ids):
            path = self._folder / "semantic" / f"{name}.png"
            raise self._damaged(path, "it has categories that are none", name)

    def _category(self, row: Mapping[str, Any], name: str) -> int:
        category = self._categories.get(row["category_id"])
        if category is None:
            path = self._record_path(name)
            raise self._damaged(path, f"{row['category_id']} is not the id of a category", name)
        return category

    def _record_path(self, name: str) -> Path:
        return self._folder / "records" / f"{name}.json"

    def _record(self, name: str) -> Any:
        path = self._record_path(name)
        try:
            record = read_json(path)
            RECORD.check(record, str(path))
        except DatasetError as error:
            raise self._damaged(path, error.message, name) from error
        return record

    def _damaged(self, path: Path, why: str, name: str) -> DamagedPredictionError:
        message = why if str(path) in why else f"{path}: {why}"
        return DamagedPredictionError(
            f"{message}: it was damaged or changed", f"remove {self._record_path(name)} and start again"
        )


def sha256_of_image(image: np.ndarray) -> str:
    """Hash the pixels of an image (H, W, 3) and its shape: images of other shapes can have equal bytes."""
    digest = hashlib.sha256(f"{image.dtype} {image.shape}".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _is_not_empty(folder: Path) -> bool:
    """Whether a path is a folder that is not empty."""
    try:
        return next(folder.iterdir(), None) is not None
    except OSError:
        return False


def _json(data: object) -> bytes:
    # Lone surrogates (names that are not UTF-8) are written as JSON escapes.
    return (json.dumps(data, ensure_ascii=False) + os.linesep).encode(errors="backslashreplace")

"""The result of a segmentation."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .segments import SegmentedImage

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image


@dataclass(frozen=True)
class Result(SegmentedImage):
    """A segmented image that can be drawn and saved, see `SegmentedImage`."""

    def overlay(self, max_side: int = 2048) -> Image:
        """Draw the image with its segments coloured and named, and a legend. See `odise_trt.visualize`.

        Args:
            max_side: a larger image is shrunk to this longer side. One under 640 is enlarged to 640.
        """
        from .visualize import draw_overlay

        return draw_overlay(self, max_side)

    def to_detectron2(self) -> tuple[np.ndarray, list[dict[str, Any]]]:
        """Return a panoptic result as detectron2's models do under "panoptic_seg".

        Returns:
            The map int32 (H, W): ids of segments, 0 where there is none. And a dict per segment: "id",
            "isthing", "category_id", an index into the vocabulary (things and stuff in one numbering, from
            0), and "score" and "area", which Mask2Former and ODISE leave out.

        Raises:
            ArgumentError: the result is not panoptic.
        """
        from .detectron2_form import to_detectron2

        return to_detectron2(self)

    def save(
        self,
        folder: str | PathLike[str],
        name: str,
        file_name: str | None = None,
        *,
        overwrite: bool = False,
        detectron2: bool = False,
    ) -> tuple[Path, ...]:
        """Write `<name>.overlay.png`, `<name>.panoptic.png` and `<name>.json`.

        The format is COCO's panoptic one, see docs/cli.md. Files appear whole or not at all.

        Existing files are replaced if this program wrote them for the same image. The same image has the same
        path. If it was no file, or that file was moved, it has the same pixels.

        Args:
            folder: where the files go. It is made if it does not exist. In text, `~` is the home folder.
            name: name of the files, without extension. A name too long for a file is shortened.
            file_name: file name of the segmented image, for the JSON. None: that of its file, else `name`.
            overwrite: replace files of other programs too, but never the image itself.
            detectron2: also write `<name>.detectron2.npz`, see `to_detectron2`. For panoptic results only.

        Returns:
            The paths: overlay, map, JSON; and the file for detectron2 if there is one.

        Raises:
            ArgumentError: the folder is not a path, the name is not a text, or `detectron2` is given for a
                result that is not panoptic.
            OutputError: the folder or a file cannot be written, or an existing file must not be replaced.
        """
        from .coco_panoptic import save_result
        from .files.output import named_folder

        return save_result(
            self, named_folder(folder), name, file_name, overwrite=overwrite, detectron2=detectron2
        )

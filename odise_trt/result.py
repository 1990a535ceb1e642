"""The result of a segmentation."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from .segments import SegmentedImage

if TYPE_CHECKING:
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

    def save(
        self,
        folder: str | PathLike[str],
        name: str,
        file_name: str | None = None,
        *,
        overwrite: bool = False,
    ) -> tuple[Path, Path, Path]:
        """Write `<name>.overlay.png`, `<name>.panoptic.png` and `<name>.json`.

        The format is COCO's panoptic one, see docs/cli.md. Files appear whole or not at all.

        Existing files are replaced if this program wrote them for the same image. The same image has the same
        path. If it was no file, or that file was moved, it has the same pixels.

        Args:
            folder: where the files go. It is made if it does not exist. In text, `~` is the home folder.
            name: name of the files, without extension. A name too long for a file is shortened.
            file_name: file name of the segmented image, for the JSON. None: that of its file, else `name`.
            overwrite: replace files of other programs too, but never the image itself.

        Returns:
            The three paths: overlay, map, JSON.

        Raises:
            ArgumentError: the folder is not a path, or the name is not a text.
            OutputError: the folder or a file cannot be written, or an existing file must not be replaced.
        """
        from .coco_panoptic import save_result
        from .files.output import named_folder

        return save_result(self, named_folder(folder), name, file_name, overwrite=overwrite)

"""What a segmentation returns."""

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
    """A segmented image, see `SegmentedImage`, that can be drawn and saved."""

    def overlay(self, max_side: int = 2048) -> Image:
        """The image with its segments coloured and named, and a legend; see `odise_trt.visualize`.

        Args:
            max_side: the image is shrunk to this longer side; one under 640 is enlarged to that.
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

        Files in the way are replaced if this program wrote them for the same image: the one at the same path;
        if it was no file, or that file was moved, one with the same pixels.

        Args:
            folder: where; made when it does not exist. In text, `~` is the home folder.
            name: of the files, without extension. One that is too long for a file name is shortened.
            file_name: of the image that was segmented, for the JSON; None: that of its file, else `name`.
            overwrite: replace files of others too, but never the image itself.

        Returns:
            The three paths: overlay, map, JSON.

        Raises:
            ArgumentError: the folder is no path, or the name no text.
            OutputError: the folder or a file cannot be written, or a file in the way is not to be replaced.
        """
        from .coco_panoptic import save_result
        from .files.output import named_folder

        return save_result(self, named_folder(folder), name, file_name, overwrite=overwrite)

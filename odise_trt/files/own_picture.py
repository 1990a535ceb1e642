"""Pictures that a command draws: written whole or not at all, and only over its own older ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OutputError
from ..pictures.encode import mark_of, marked_png
from .output import prepare_folder
from .writing import write_together

if TYPE_CHECKING:
    from PIL import Image

_KEY = "Description"


@dataclass(frozen=True)
class OwnPicture:
    """A kind of picture, known by a text in its PNG file.

    Attributes:
        mark: the text.
        what: the kind in words, for messages: "a picture of the benchmark".
        option: the option that names its place.
    """

    mark: str
    what: str
    option: str

    def check_place(self, path: Path) -> None:
        """Raise OutputError unless a picture can be written there. Call it before the work.

        Raises:
            OutputError: the name does not end in .png, the folder cannot be written to, or there is a file
                that is not such a picture.
        """
        if path.suffix.lower() != ".png":
            raise OutputError(
                f"{path} is not the name of a PNG file", f"give {self.option} a name that ends in .png"
            )
        prepare_folder(path.parent)
        if path.exists():
            self._keep_others(path)

    def write(self, picture: Image.Image, path: Path) -> None:
        """Write a picture as PNG.

        Raises:
            OutputError: the file cannot be written, or there is one that is not such a picture.
        """
        content = marked_png(picture, _KEY, self.mark)
        write_together(path.parent, {path.name: content}, keep=self._keep_others)

    def _keep_others(self, path: Path) -> None:
        if mark_of(path, _KEY) != self.mark:
            raise OutputError(
                f"{path} exists, and it is not {self.what}", f"give another {self.option}, or move it away"
            )

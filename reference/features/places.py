"""Where the results of `odise-trt features` go: files, or folders for many photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odise_trt.errors import OutputError
from odise_trt.features.archive import check_place as check_maps
from odise_trt.files.output import prepare_folder
from odise_trt.files.output_names import output_names
from odise_trt.files.paths import kind_of
from reference.features.pictures import check_place as check_picture

_MAPS, _PICTURE = ".npz", ".png"


@dataclass(frozen=True)
class Place:
    """The results of one photo.

    Attributes:
        photo: path of the photo.
        maps: the .npz file. None: no maps.
        picture: the .png file. None: no picture.
    """

    photo: Path
    maps: Path | None
    picture: Path | None

    def check(self, facts: Mapping[str, Any], *, overwrite: bool) -> None:
        """Make the folders, and raise OutputError unless both files may be written.

        Args:
            facts: what identifies the photo, see `odise_trt.features.archive.check_place`.
            overwrite: whether other files may be replaced. The photo itself is never replaced.

        Raises:
            OutputError: a file must stay, or its folder cannot be written to.
        """
        if self.maps is not None:
            prepare_folder(self.maps.parent)
            if self.maps.exists() and self.maps.samefile(self.photo):
                raise OutputError(f"{self.maps} is the photo itself", "give another --output")
            check_maps(self.maps, facts, overwrite=overwrite)
        if self.picture is not None:
            check_picture(self.picture, self.photo, overwrite=overwrite)


def places(photos: Sequence[Path], output: Path | None, picture: Path | None) -> list[Place]:
    """Return where the results of each photo go.

    Args:
        photos: paths of the photos.
        output: a file (.npz: maps, .png: picture), or a folder for the maps.
        picture: a .png file, or a folder for the pictures. If neither is given, pictures go into the working
            folder.

    Raises:
        OutputError: a name is no file of these kinds, there are several photos for one file, or two options
            name a picture.
    """
    if output is None and picture is None:
        picture = Path()
    if output is not None and _is_file(output, _PICTURE):
        if picture is not None:
            raise OutputError(f"{output} and {picture} both name the picture", "give --output an .npz file")
        output, picture = None, output
    maps = _files(photos, output, "--output", _MAPS)
    pictures = _files(photos, picture, "--picture", _PICTURE)
    return [Place(*three) for three in zip(photos, maps, pictures, strict=True)]


def _files(photos: Sequence[Path], place: Path | None, option: str, suffix: str) -> list[Path | None]:
    if place is None:
        return [None] * len(photos)
    if not _is_file(place, suffix):
        if place.suffix and not kind_of(place).is_folder:
            raise OutputError(
                f"{place} is no name of a {suffix} file, and no folder",
                f"give {option} a {suffix} file or a folder",
            )
        return [place / f"{name}.features{suffix}" for name in output_names(photos)]
    if len(photos) > 1:
        raise OutputError(f"{place} is one file for {len(photos)} photos", f"give {option} a folder")
    return [place]


def _is_file(place: Path, suffix: str) -> bool:
    return place.suffix.lower() == suffix and not kind_of(place).is_folder

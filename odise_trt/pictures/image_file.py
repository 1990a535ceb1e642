"""Opens the file of a picture. Every error of Pillow becomes an `ImageError` that names the picture.

Photos, panoptic maps and label images are all opened here. Bad metadata does not prevent reading a picture,
and Pillow's warnings about it are hidden.
"""

from __future__ import annotations

import io
import os
import struct
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from ..errors import ImageError, hint_for, reason
from . import file_kind, tiff
from .metadata import needed_only
from .pillow_warnings import silence

#: Largest image that is decoded, in pixels. This is twice Pillow's own warning limit, and 0.5 GB as RGB.
MAX_PIXELS = 178_956_970

# Raster formats only. Pillow would run PostScript in an interpreter, which is unsafe for untrusted files.
FORMATS = (
    "JPEG",
    "MPO",
    "PNG",
    "WEBP",
    "AVIF",
    "HEIF",  # if another package adds the reader
    "TIFF",
    "BMP",
    "DIB",
    "GIF",
    "ICO",
    "JPEG2000",
    "PPM",
    "TGA",
)
# Errors of Pillow's readers for damaged files. The AVIF reader raises RuntimeError.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    EOFError,
    TypeError,
    RuntimeError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    struct.error,
)
# Words in Pillow's messages about a file that ends too early.
_CUT = (
    "truncated",
    "unexpected end",
    "not enough",
    "insufficient",
    "cannot read full",
    "end of file",
    "unrecognized data stream contents",
)
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND", "GIF": b";"}
_SAVE_AGAIN = "get it again, or open it in another program and save it as PNG"
#: Key of `Image.info`: in this TIFF, gray value 0 is white. Pillow leaves the inversion to its caller.
WHITE_IS_ZERO = "odise-trt: white is zero"


@contextmanager
def open_picture(source: str | os.PathLike[str] | BinaryIO, name: str) -> Iterator[Image.Image]:
    """Open a picture. Its pixels are decoded when the block first uses them.

    Args:
        source: a path, or an open file.
        name: name of the picture, for messages.

    Raises:
        ImageError: the picture cannot be read, is not of `FORMATS`, is damaged, or has more pixels than
            `MAX_PIXELS`. It is raised on entry or from within the block.
    """
    with open_content(content_of(source, name), name) as image:
        yield image


@contextmanager
def open_content(data: bytes, name: str) -> Iterator[Image.Image]:
    """Open a picture as `open_picture` does, from the content of a file."""
    if not data:
        raise ImageError(f"{name} is empty", "it was never written or fetched: get it again")
    raw = file_kind.raw_of(data)
    if raw is not None:
        raise _not_read(name, raw)
    with reading(name, data), _identify(data) as image:
        check_size(image, name)
        yield image


def content_of(source: str | os.PathLike[str] | BinaryIO, name: str) -> bytes:
    """Read all bytes of a picture file. A file that cannot be a picture is rejected before it is read whole.

    Raises:
        ImageError: the file cannot be read, or is of another kind by its first bytes.
    """
    try:
        if isinstance(source, str | os.PathLike):
            with open(source, "rb") as file:
                return _read(file, name)
        _rewind(source)
        return _read(source, name)
    except ImageError:
        raise
    except io.UnsupportedOperation as error:
        raise ImageError(f"{name} was not opened for reading", 'open it with open(path, "rb")') from error
    except OSError as error:
        raise ImageError(f"{name} cannot be read: {reason(error)}", hint_for(error)) from error
    except MemoryError as error:
        raise _no_memory(name) from error
    # A null byte in the path, a closed file, or any error of the caller's own file object.
    except Exception as error:
        raise ImageError(f"{name} cannot be read: {str(error) or type(error).__name__}") from error


def check_size(image: Image.Image, name: str) -> None:
    """Raise ImageError if a picture has no pixels, or more than `MAX_PIXELS`. Nothing is decoded."""
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(
            f"{name} is too large: {image.width} x {image.height} pixels, the limit is {MAX_PIXELS} pixels",
            "shrink it first",
        )
    if 0 in image.size:
        raise ImageError(f"{name} has no pixels: it is {image.width} x {image.height}")


@contextmanager
def reading(name: str, data: bytes = b"") -> Iterator[None]:
    """Turn decoding errors into an `ImageError` that names the picture, and hide Pillow's warnings.

    Args:
        data: the content of the file, if there is one. It helps to find the cause.
    """
    with silence(), _translated(name, data):
        yield


@contextmanager
def _translated(name: str, data: bytes) -> Iterator[None]:
    try:
        yield
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} is too large: {error}", "shrink it first") from error
    except UnidentifiedImageError as error:
        raise _unidentified(name, data) from error
    except MemoryError as error:
        # The frames of the traceback keep the decoded pixels alive. The next picture needs that memory.
        traceback.clear_frames(error.__traceback__)
        raise _no_memory(name) from None
    except OSError as error:
        if error.errno is not None:
            raise ImageError(f"{name} cannot be read: {reason(error)}", hint_for(error)) from error
        raise _damaged(name, data, error) from error
    except _DAMAGE as error:
        raise _damaged(name, data, error) from error


def _rewind(file: BinaryIO) -> None:
    """Go to the start, as Pillow does. A `BytesIO` that was just written is at its end."""
    seekable = getattr(file, "seekable", None)
    if seekable is not None and seekable():
        file.seek(0)


def _read(file: BinaryIO, name: str) -> bytes:
    head = file.read(file_kind.HEAD)
    if not isinstance(head, bytes | bytearray):
        raise ImageError(
            f"{name} gives {type(head).__name__}, not bytes", 'open it for bytes: open(path, "rb")'
        )
    kind = file_kind.kind_of(head, _formats())
    if kind is not None:
        raise _not_read(name, kind)
    return head + file.read()


def _identify(data: bytes) -> Image.Image:
    directory = tiff.read_directory(data)
    # Pillow inverts white-is-zero for 1 to 8 bits. It does not invert deeper pixels, or does not read them.
    inverted = (
        directory is not None
        and directory.values(tiff.PHOTOMETRIC) == (tiff.WHITE_IS_ZERO,)
        and max(directory.values(tiff.BITS_PER_SAMPLE), default=1) > 8
    )
    if directory is not None and inverted:
        data = tiff.with_directory(data, directory.with_value(tiff.PHOTOMETRIC, tiff.BLACK_IS_ZERO))
    image = Image.open(io.BytesIO(needed_only(data)), formats=_formats())
    if inverted:
        image.info[WHITE_IS_ZERO] = True
    return image


def _formats() -> list[str]:
    Image.init()
    return [one for one in FORMATS if one in Image.OPEN]


def _unidentified(name: str, data: bytes) -> ImageError:
    head = data[: file_kind.HEAD]
    promised = file_kind.format_of(head)
    kind = file_kind.kind_of(head, _formats()) or (None if promised else file_kind.guess(head))
    if kind is not None:
        return _not_read(name, kind)
    if promised is None:
        other = _other_format(data)
        what = f": it is a {other} file" if other else ""
        return ImageError(f"{name} is not an image that can be read{what}", "convert it to JPEG or PNG")
    if _is_cut(data, promised):
        return ImageError(f"{name} is damaged: the {promised} file ends too early", "a truncated download?")
    directory = tiff.read_directory(data)
    if directory is not None:
        what = f"a TIFF with {tiff.describe(directory)}"
        return ImageError(f"{name} is {what}, which is not read", _plain_tiff(directory))
    why = _refusal(promised, data)
    if "-bit" in why or "-layer" in why or "unsupported" in why.lower():
        return ImageError(f"{name} is a {promised} file that is not read: {why}", "save it as an RGB PNG")
    hint = "a truncated download?" if _says_cut(why) else _SAVE_AGAIN
    return ImageError(f"{name} is damaged: the {promised} file makes no sense: {why}", hint)


def _other_format(data: bytes) -> str | None:
    """Return the file's format if Pillow knows it but it is not in `FORMATS`, or None."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.format
    except Exception:  # any of Pillow's fifty readers may raise anything
        return None


def _refusal(promised: str, data: bytes) -> str:
    """Return why Pillow's reader of a format rejects the file. `Image.open` does not report this."""
    factory = Image.OPEN.get(promised.upper().replace(" ", ""), (None,))[0]
    if factory is None:
        return "no reader"
    try:
        with factory(io.BytesIO(needed_only(data)), ""):
            return "no reader"
    except Exception as error:
        return str(error) or type(error).__name__


def _damaged(name: str, data: bytes, error: Exception) -> ImageError:
    promised = file_kind.format_of(data[: file_kind.HEAD])
    why = str(error).strip() or type(error).__name__
    directory = tiff.read_directory(data)
    if directory is not None and tiff.rare_compression(directory) and "decoder error" in why:
        what = f"a TIFF with {tiff.describe(directory)}"
        return ImageError(f"{name} cannot be decoded: it is {what} ({why})", _plain_tiff(directory))
    cut = _says_cut(why) or _is_cut(data, promised)
    return ImageError(f"{name} is damaged: {why}", "a truncated download?" if cut else _SAVE_AGAIN)


def _plain_tiff(directory: tiff.Directory) -> str:
    packed = ", with LZW compression or none" if tiff.rare_compression(directory) else ""
    return f"save it as RGB with 8 bits per channel{packed}"


def _says_cut(why: str) -> bool:
    return any(word in why.lower() for word in _CUT)


def _is_cut(data: bytes, promised: str | None) -> bool:
    """Whether a file is cut off: the end marker is missing, or it is shorter than its header says."""
    if promised == "WebP":
        return len(data) < int.from_bytes(data[4:8], "little") + 8
    if promised == "BMP":
        return len(data) < int.from_bytes(data[2:6], "little")
    if promised == "TIFF":
        return tiff.read_directory(data) is None
    end = _ENDS.get(promised or "")
    return end is not None and end not in data[-4096:].rstrip(b"\0")[-64:]


def _not_read(name: str, kind: file_kind.FileKind) -> ImageError:
    return ImageError(f"{name} is not an image that can be read: it is {kind.what}", kind.way_out)


def _no_memory(name: str) -> ImageError:
    return ImageError(f"{name} cannot be read: there is not enough memory for it", "shrink it first")

"""Removes metadata from picture files, so that damaged metadata does not prevent reading the pixels.

Pillow reads texts, colour profiles and camera data before the pixels. It gives up if one of them is damaged
or too large. Here only the orientation is needed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from . import tiff

_PNG = b"\x89PNG\r\n\x1a\n"
# Chunks that the pixels of the first frame do not need are removed. Those of animations stay, since Pillow
# finds the first frame by them.
_PNG_KEPT = (b"acTL", b"fcTL", b"fdAT")
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
# Programs wrote the orientation into these texts before PNG had a chunk for it.
_ORIENTATION_TEXTS = (b"Raw profile type exif", b"XML:com.adobe.xmp")
# The most bytes of a text with an orientation. Pillow's own limit is 1 MB.
_MOST_TEXT = 1 << 19
_JPEG = b"\xff\xd8\xff"
_JPEG_START_OF_SCAN = 0xDA


def needed_only(data: bytes) -> bytes:
    """Return a picture file without metadata. Other content, and damaged structure, are not changed."""
    if data.startswith(_PNG):
        return _png(data)
    if data.startswith(_JPEG):
        return _jpeg(data)
    directory = tiff.read_directory(data)
    if directory is not None:
        # The second directory is removed, too, since it describes another page.
        return tiff.with_directory(data, directory.only(lambda entry: entry.tag in tiff.NEEDED))
    return data


def _png(data: bytes) -> bytes:
    whole = memoryview(data)  # slices of it are not copied
    place = len(_PNG)
    kept = [whole[:place]]
    for kind, start, end in _png_chunks(data):
        if _is_needed(kind, whole[start + 8 : end - 4], whole[end - 4 : end]):
            kept.append(whole[start:end])
        place = end
    return b"".join([*kept, whole[place:]])


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of every chunk, up to the first one that is cut or has no valid name."""
    place = len(_PNG)
    while place + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if end > len(data) or not kind.isalpha():
            return
        yield kind, place, end
        place = end


def _is_needed(kind: bytes, part: memoryview, checksum: memoryview) -> bool:
    if kind[:1].isupper() or kind in _PNG_KEPT:
        return True
    content = bytes(part)
    if kind != b"eXIf" and not (kind in _PNG_TEXTS and content.startswith(_ORIENTATION_TEXTS)):
        return False
    return struct.pack(">I", zlib.crc32(kind + content)) == checksum and _is_readable(kind, content)


def _is_readable(kind: bytes, content: bytes) -> bool:
    """Whether a text that may be compressed can be read and is of a reasonable size."""
    if kind in (b"eXIf", b"tEXt"):
        return len(content) <= _MOST_TEXT
    _, _, rest = content.partition(b"\0")
    if kind == b"zTXt":
        packed, data = True, rest[1:]
    else:
        # Fields: compression flag, method, language, translated keyword, text.
        packed, data = rest[:1] == b"\1", rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    if not packed:
        return len(data) <= _MOST_TEXT
    try:
        return len(zlib.decompressobj().decompress(data, _MOST_TEXT + 1)) <= _MOST_TEXT
    except zlib.error:
        return False


def _jpeg(data: bytes) -> bytes:
    whole = memoryview(data)
    kept = [whole[:2]]
    place = 2
    # Stray bytes may lie between segments. Pillow skips them, except directly after the first two bytes.
    while 0 <= (place := data.find(b"\xff", place)) <= len(data) - 4:
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1
            continue
        length = struct.unpack_from(">H", data, place + 2)[0]
        end = place + 2 + length
        if marker == _JPEG_START_OF_SCAN:
            return b"".join([*kept, whole[place:]])
        if not 0xC0 <= marker <= 0xFE or length < 2 or end > len(data):
            break
        if _is_needed_segment(marker, data[place + 4 : end]):
            kept.append(whole[place:end])
        place = end
    return data


def _is_needed_segment(marker: int, content: bytes) -> bool:
    if marker == 0xFE:  # a comment
        return False
    if not 0xE0 <= marker <= 0xEF:
        return True
    # Segments on the storage of colours, and the orientation. Pillow fails on segments that are too short.
    return (
        (marker == 0xE0 and content.startswith(b"JFIF\0") and len(content) >= 14)
        or (marker == 0xEE and content.startswith(b"Adobe") and len(content) >= 12)
        or (marker == 0xE1 and content.startswith((b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0")))
    )

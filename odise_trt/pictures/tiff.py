"""Reads the tags of a TIFF that describe its pixels, and rewrites a TIFF without the other tags."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

SUBFILE_TYPE, BITS_PER_SAMPLE, COMPRESSION, PHOTOMETRIC, SAMPLES_PER_PIXEL = 254, 258, 259, 262, 277
SUB_IFDS, SAMPLE_FORMAT, DNG_VERSION = 330, 339, 50706
WHITE_IS_ZERO, BLACK_IS_ZERO = 0, 1
FLOAT = 3

#: Tags that decoding needs: sizes, strips, tiles, compression, colours, orientation.
NEEDED = frozenset(
    {SUBFILE_TYPE, BITS_PER_SAMPLE, COMPRESSION, PHOTOMETRIC, SAMPLES_PER_PIXEL, SAMPLE_FORMAT}
    | {255, 256, 257, 266, 273, 274, 278, 279, 284, 292, 293, 301, 317, 318, 319, 320, 322, 323, 324, 325}
    | {332, 334, 336, 338, 340, 341, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532}
    | {50674}
)
# Compressions that not every reader has. All readers know the others.
_COMPRESSIONS = {
    6: "JPEG of the old kind",
    22610: "JPEG XR",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG",
    34925: "LZMA",
    34933: "PNG",
    34934: "JPEG XR",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
    **dict.fromkeys((33003, 33004, 33005), "JPEG 2000"),
}
_COMMON = frozenset({1, 2, 3, 4, 5, 7, 8, 32773, 32946})
_SHORT = 3
_FORMATS = {1: "B", _SHORT: "H", 4: "I", 16: "Q"}


@dataclass(frozen=True)
class Entry:
    """One tag of a directory: its row of bytes, and its numbers if its type is unsigned."""

    tag: int
    row: bytes
    values: tuple[int, ...]


@dataclass(frozen=True)
class Directory:
    """The first directory of a TIFF, which describes its first picture.

    Attributes:
        order: "<" or ">", as in `struct`.
        big: whether the file is a BigTIFF.
    """

    order: str
    big: bool
    entries: tuple[Entry, ...]

    def values(self, tag: int) -> tuple[int, ...]:
        """Return the numbers of a tag. Empty if the tag is missing."""
        return next((entry.values for entry in self.entries if entry.tag == tag), ())

    def has(self, tag: int) -> bool:
        """Whether the directory has the tag."""
        return any(entry.tag == tag for entry in self.entries)

    def with_value(self, tag: int, value: int) -> Directory:
        """Return a copy with another number in a tag that has one number of at most 16 bits."""
        count, end = ("Q", "6x") if self.big else ("I", "2x")
        row = struct.pack(f"{self.order}HH{count}H{end}", tag, _SHORT, 1, value)
        entries = (Entry(tag, row, (value,)) if entry.tag == tag else entry for entry in self.entries)
        return Directory(self.order, self.big, tuple(entries))

    def only(self, keep: Callable[[Entry], bool]) -> Directory:
        """Return a copy with the entries that `keep` accepts."""
        return replace(self, entries=tuple(filter(keep, self.entries)))


def read_directory(data: bytes) -> Directory | None:
    """Read the first directory of the TIFF `data`. None: it is no TIFF, or the directory is damaged."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        return None
    try:
        version = struct.unpack_from(order + "H", data, 2)[0]
        if version not in (42, 43):
            return None
        big = version == 43
        start, count = _start(data, order, big)
        size = 20 if big else 12
        rows = [data[at : at + size] for at in range(start, start + size * count, size)]
        if not rows or len(rows[-1]) < size:
            return None
        return Directory(order, big, tuple(_entry(data, row, order, big) for row in rows))
    except (struct.error, OverflowError):
        return None


def with_directory(data: bytes, directory: Directory) -> bytes:
    """Return the TIFF `data` with another first directory, and without a second one."""
    # The format requires an even offset.
    padding = b"\0" * (len(data) % 2)
    order, place = directory.order, len(data) + len(padding)
    rows = b"".join(entry.row for entry in directory.entries)
    count, end = ("Q", 8) if directory.big else ("H", 4)
    header = struct.pack(order + "Q", place) if directory.big else struct.pack(order + "I", place)
    at = 8 if directory.big else 4
    block = struct.pack(order + count, len(directory.entries)) + rows + b"\0" * end
    return b"".join((data[:at], header, memoryview(data)[at + len(header) :], padding, block))


def describe(directory: Directory) -> str:
    """Describe the kind of pixels in words: "3 channels of 32-bit floating-point numbers"."""
    bits = directory.values(BITS_PER_SAMPLE) or (1,)
    channels = (directory.values(SAMPLES_PER_PIXEL) or (len(bits),))[0]
    widths = " and ".join(str(one) for one in dict.fromkeys(bits[:8]))
    kinds: Iterable[int] = directory.values(SAMPLE_FORMAT)
    kind = "floating-point numbers" if FLOAT in kinds else "numbers"
    pixels = f"{channels} {'channel' if channels == 1 else 'channels'} of {widths}-bit {kind}"
    packed = rare_compression(directory)
    return f"{pixels}, compressed as {packed}" if packed else pixels


def rare_compression(directory: Directory) -> str | None:
    """Return the name of a compression that not every reader has. None: it is a common one."""
    number = (directory.values(COMPRESSION) or (1,))[0]
    return None if number in _COMMON else _COMPRESSIONS.get(number, f"number {number}")


def _start(data: bytes, order: str, big: bool) -> tuple[int, int]:
    """Return the offset of the directory's first row, and the number of rows."""
    if big:
        place = struct.unpack_from(order + "Q", data, 8)[0]
        return place + 8, min(struct.unpack_from(order + "Q", data, place)[0], 65536)
    place = struct.unpack_from(order + "I", data, 4)[0]
    return place + 2, struct.unpack_from(order + "H", data, place)[0]


def _entry(data: bytes, row: bytes, order: str, big: bool) -> Entry:
    tag, kind = struct.unpack_from(order + "HH", row)
    count = struct.unpack_from(order + ("Q" if big else "I"), row, 4)[0]
    if kind not in _FORMATS or not 0 < count <= 4096:
        return Entry(tag, row, ())
    layout = f"{order}{count}{_FORMATS[kind]}"
    inline = 12 if big else 8
    if struct.calcsize(layout) <= len(row) - inline:
        return Entry(tag, row, struct.unpack_from(layout, row, inline))
    place = struct.unpack_from(order + ("Q" if big else "I"), row, inline)[0]
    try:
        return Entry(tag, row, struct.unpack_from(layout, data, place))
    except struct.error:
        return Entry(tag, row, ())

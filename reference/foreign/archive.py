"""Zip archives of PyTorch, checked before anything in them is read.

Programs that read zip archives disagree on archives that are not well formed: one sees an entry that another
does not. So only what PyTorch writes is accepted: one folder, known entries, no compression of data, no gaps
that hide anything, and two lists of entries (in front of each, and at the end) that say the same.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from odise_trt.errors import WeightsError
from reference.foreign.refusal import damaged, quoted, unusual
from reference.weights.diagnosis import unreadable

_PICKLE = "data.pkl"
_MOST_PICKLE = 4_000_000
_MOST_ENTRIES = 20_000
#: Bytes of the list of all entries.
_MOST_LIST = 4_000_000
_MEMBERS = re.compile(
    r"data\.pkl|data/[0-9]{1,20}|version|byteorder|\.format_version|\.storage_alignment"
    r"|\.data/serialization_id"
)
#: What TorchScript archives have besides. None of it is read.
_SCRIPT_MEMBERS = re.compile(
    r"constants\.pkl|constants/[0-9]{1,20}|code/.+|extra/.+|traced_inputs\.pkl|traced_inputs/[0-9]{1,20}"
)
_STORED, _DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
#: Flags of an entry: its sizes follow the data, its name is UTF-8, how hard it was compressed.
_SIZES_FOLLOW, _UTF8 = 0x008, 0x800
_KNOWN_FLAGS = _SIZES_FOLLOW | _UTF8 | 0x006
_SATURATED = 0xFFFF_FFFF

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCAL = struct.Struct("<4s5H3L2H")


@dataclass(frozen=True)
class Member:
    """The data of an entry: where they begin in the file, and how many bytes they are."""

    offset: int
    size: int


@dataclass(frozen=True)
class Archive:
    """A checked archive.

    Attributes:
        members: the entries that are read, by their names inside the folder of the archive.
        is_script: it is a TorchScript archive.
        pickle: its data.pkl.
    """

    path: Path
    members: Mapping[str, Member]
    is_script: bool
    pickle: bytes


def read_archive(path: Path) -> Archive:
    """Check an archive and read its pickle, which is not run.

    Raises:
        WeightsError: it is cut off, no archive of PyTorch, or not as PyTorch writes it.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start_of_list = _check_end(path, file)
        try:
            with zipfile.ZipFile(file) as archive:
                infos = archive.infolist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, EOFError) as error:
            raise damaged(path, str(error)) from error
        if not any(info.filename.endswith(_PICKLE) for info in infos):
            raise unreadable(path)
        names = _names(path, infos)
        is_script = "constants.pkl" in names
        for name, info in names.items():
            _check_entry(path, name, info, is_script)
        members = _places(path, file, names, start_of_list)
        return Archive(path, members, is_script, _pickle(path, file, names, members))


def _check_end(path: Path, file: BinaryIO) -> int:
    """Check the end of the archive. Return where its list of entries begins."""
    size = file.seek(0, 2)
    end = size - _END.size
    _, disk, list_disk, here, count, length, start, comment = fields = _read(file, _END, end)
    if fields[0] != b"PK\5\6" or comment:
        raise damaged(path, "it is a zip archive without its end")
    place = end - _END64_LOCATOR.size
    signature, _, where, _ = _read(file, _END64_LOCATOR, place)
    if signature == b"PK\6\7":
        end = where
        signature, more, *_, here64, count64, length64, start64 = _read(file, _END64, where)
        if signature != b"PK\6\6" or where + _END64.size != place or more != _END64.size - 12:
            raise damaged(path, "its end is not as PyTorch writes it")
        for short, long, most in (
            (here, here64, 0xFFFF),
            (count, count64, 0xFFFF),
            (length, length64, _SATURATED),
            (start, start64, _SATURATED),
        ):
            if short not in (long, most):
                raise unusual(path, "its two lists of entries differ")
        here, count, length, start = here64, count64, length64, start64
    if disk or list_disk or here != count:
        raise unusual(path, "it is a part of an archive in several files")
    if start + length != end:
        raise damaged(path, "its list of entries is not where it should be")
    if count > _MOST_ENTRIES or length > _MOST_LIST:
        raise unusual(path, f"it has {count} entries")
    return int(start)


def _names(path: Path, infos: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """Return the entries by their names inside the one folder of the archive."""
    root = infos[0].filename.partition("/")[0]
    names, seen = {}, set()
    for info in infos:
        folder, _, name = info.filename.partition("/")
        parts = info.orig_filename.split("/")
        if (
            info.orig_filename != info.filename
            or not {"", ".", ".."}.isdisjoint(parts)
            or any(letter in info.filename for letter in "\\\0:")
        ):
            raise unusual(path, f"it has an entry of the name {quoted([info.orig_filename])}")
        if folder != root or not name:
            raise unusual(path, f"its entry {quoted([info.filename])} is not in its folder {quoted([root])}")
        if name.lower() in seen:
            raise unusual(path, f"it has two entries {quoted([name])}")
        seen.add(name.lower())
        names[name] = info
    return names


def _check_entry(path: Path, name: str, info: zipfile.ZipInfo, is_script: bool) -> None:
    known = _MEMBERS.fullmatch(name)
    if not known and not (is_script and _SCRIPT_MEMBERS.fullmatch(name)):
        raise unusual(path, f"PyTorch writes no entry {quoted([name])}")
    if info.flag_bits & ~_KNOWN_FLAGS:
        raise unusual(path, f"its entry {quoted([name])} is encrypted or of an unknown kind")
    if known and info.compress_type != _STORED:
        raise WeightsError(
            f"{path} is refused: its entry {quoted([name])} is compressed, which PyTorch never does",
            "unpack it, and pack it without compression: zip -0 -D -r NEW FOLDER",
        )
    if info.compress_type not in (_STORED, _DEFLATED):
        raise unusual(path, f"its entry {quoted([name])} is compressed in another way")
    if info.compress_type == _STORED and info.file_size != info.compress_size:
        raise unusual(path, f"its entry {quoted([name])} states two sizes")


def _places(
    path: Path, file: BinaryIO, names: Mapping[str, zipfile.ZipInfo], start_of_list: int
) -> dict[str, Member]:
    """Compare the header in front of each entry with the list, and return where the data lie."""
    members, free = {}, 0
    for name, info in sorted(names.items(), key=lambda item: item[1].header_offset):
        begin = _data_offset(path, file, info)
        if info.header_offset < free or begin + info.compress_size > start_of_list:
            raise unusual(path, f"its entry {quoted([name])} lies over another one")
        free = begin + info.compress_size
        if _MEMBERS.fullmatch(name):
            members[name] = Member(begin, info.file_size)
    return members


def _data_offset(path: Path, file: BinaryIO, info: zipfile.ZipInfo) -> int:
    signature, _, flags, method, _, _, crc, compressed, size, letters, extra = _read(
        file, _LOCAL, info.header_offset
    )
    name = info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")
    follows = bool(flags & _SIZES_FOLLOW)
    same = (
        signature == b"PK\3\4"
        and (flags, method) == (info.flag_bits, info.compress_type)
        and file.read(letters) == name
        and all(
            said in (listed, _SATURATED) or (follows and said == 0)
            for said, listed in ((crc, info.CRC), (compressed, info.compress_size), (size, info.file_size))
        )
    )
    if not same:
        raise damaged(path, f"its entry {quoted([info.filename])} is not what the list of entries says")
    return info.header_offset + _LOCAL.size + int(letters) + int(extra)


def _pickle(
    path: Path, file: BinaryIO, names: Mapping[str, zipfile.ZipInfo], members: Mapping[str, Member]
) -> bytes:
    if _PICKLE not in members:
        raise unusual(path, f"its {_PICKLE} is not in its folder")
    if members[_PICKLE].size > _MOST_PICKLE:
        raise unusual(path, f"its {_PICKLE} has {members[_PICKLE].size} bytes")
    if "byteorder" in members and members["byteorder"].size > 8:
        raise damaged(path, "it states no byte order")
    found = dict(_contents(path, file, members, _PICKLE, "byteorder"))
    if zlib.crc32(found[_PICKLE]) != names[_PICKLE].CRC:
        raise damaged(path, f"the checksum of its {_PICKLE} is another one")
    if found.get("byteorder", b"little") != b"little":
        raise WeightsError(
            f"{path} was written on a big-endian machine", "save it again on a little-endian one"
        )
    return found[_PICKLE]


def _contents(
    path: Path, file: BinaryIO, members: Mapping[str, Member], *names: str
) -> Iterator[tuple[str, bytes]]:
    for name in names:
        if name in members:
            file.seek(members[name].offset)
            yield name, file.read(members[name].size)


def _read(file: BinaryIO, form: struct.Struct, offset: int) -> tuple[Any, ...]:
    """Read fields at an offset. Zeros stand for what lies outside of the file."""
    if offset < 0:
        return form.unpack(bytes(form.size))
    file.seek(offset)
    return form.unpack(file.read(form.size).ljust(form.size, b"\0"))

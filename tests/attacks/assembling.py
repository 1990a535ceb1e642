"""Writes pickles step by step, and zip archives around them, as an attacker would."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

START, STOP = b"\x80\x02", b"."
NONE, TRUE, FALSE = b"N", b"\x88", b"\x89"
MARK, TUPLE, LIST, DICT = b"(", b"t", b"]", b"}"
#: Numbers of four bytes each in the storage "0" of `archive`.
NUMBERS = 6


def text(value: str) -> bytes:
    """A text."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def integer(value: int) -> bytes:
    """A number of up to 255 bytes."""
    content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def several(*values: bytes) -> bytes:
    """A tuple."""
    return MARK + b"".join(values) + TUPLE


def name(full: str) -> bytes:
    """A class or function, as "module.name"."""
    module, _, last = full.rpartition(".")
    return f"c{module}\n{last}\n".encode()


def call(full: str, *arguments: bytes) -> bytes:
    """What the function returns."""
    return name(full) + several(*arguments) + b"R"


def dictionary(**items: bytes) -> bytes:
    """A dictionary."""
    return DICT + MARK + b"".join(text(key) + value for key, value in items.items()) + b"u"


def storage(
    key: str = "0", count: int = NUMBERS, cls: str = "torch.FloatStorage", device: str = "cpu"
) -> bytes:
    """A storage, by its persistent id."""
    return several(text("storage"), name(cls), text(key), text(device), integer(count)) + b"Q"


def tensor(
    shape: tuple[int, ...] = (2, 3),
    stride: tuple[int, ...] = (3, 1),
    offset: int = 0,
    held: bytes | None = None,
    hooks: bytes = name("collections.OrderedDict") + b")R",
    more: tuple[bytes, ...] = (),
    grad: bytes = FALSE,
) -> bytes:
    """A tensor of the storage "0"."""
    return call(
        "torch._utils._rebuild_tensor_v2",
        storage() if held is None else held,
        integer(offset),
        several(*map(integer, shape)),
        several(*map(integer, stride)),
        grad,
        hooks,
        *more,
    )


def program(value: bytes) -> bytes:
    """A pickle that gives a value."""
    return START + value + STOP


#: A harmless pickle: one tensor, {"a": ...}.
GOOD = program(dictionary(a=tensor()))


def members(pickle: bytes = GOOD, **more: bytes) -> dict[str, bytes]:
    """The entries of a file of torch.save, with "data/0", by their full names."""
    entries = {"data.pkl": pickle, "byteorder": b"little", "data/0": bytes(range(24)), "version": b"3\n"}
    return {f"a/{key}": content for key, content in {**entries, **more}.items()}


def archive(path: Path, entries: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """A zip archive."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for full, content in entries.items():
            file.writestr(zipfile.ZipInfo(full), content, compression)
    return path

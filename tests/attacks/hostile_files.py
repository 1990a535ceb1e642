"""Files of other kinds, lying headers of safetensors, pipes and links, and good files that end too early."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import torch

from tests.attacks.assembling import name, program
from tests.attacks.hostile_archives import TENSORS, Case
from tests.reference.foreign import official_files as official


def all_cases() -> dict[str, Case]:
    """Every attack of this module."""
    return {
        **_headers(),
        **_renamed(),
        **_special(),
        **_cut_off(),
    }


def _headers() -> dict[str, Case]:
    """Safetensors files whose header lies."""

    def written(
        header: object, data: bytes = bytes(24), length: int | None = None
    ) -> Callable[[Path], object]:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        size = len(text) if length is None else length
        return lambda path: path.write_bytes(struct.pack("<Q", size) + text + data)

    def entry(dtype: object = "F32", shape: object = (2, 3), offsets: object = (0, 24)) -> dict[str, object]:
        return {"dtype": dtype, "shape": shape, "data_offsets": offsets}

    again = b'{"a":%s,"a":%s}' % ((json.dumps(entry()).encode(),) * 2)
    cases = {
        "a header of 16 MB": (written({"a": entry()}, length=16_000_001), "claims 16000001 bytes"),
        "a header of 2**39": (written({"a": entry()}, length=2**39), "claims 549755813888 bytes"),
        "a header of 2**63": (written({"a": entry()}, length=2**63), "cannot be read as safetensors"),
        "a header beyond the end": (written({"a": entry()}, length=9999), "is cut off: .* has 10007"),
        "another shape": (written({"a": entry(shape=[2, 4])}), "a shape of another size"),
        "a shape of 2**62": (written({"a": entry(shape=[2**31, 2**31])}), "a shape of another size"),
        "a negative shape": (written({"a": entry(shape=[-2, -3])}), "TypeError"),
        "a shape of fractions": (written({"a": entry(shape=[2.0, 3])}), "TypeError"),
        "a shape of truth": (written({"a": entry(shape=[True, 6])}), "TypeError"),
        "many dimensions": (written({"a": entry(shape=[1] * 99 + [6])}), "a shape of another size"),
        "complex": (written({"a": entry("C64", (3,))}), "has the dtype C64"),
        "an unknown dtype": (written({"a": entry("\x1b[2J")}), r"has the dtype \\x1b"),
        "a dtype that is a list": (written({"a": entry(["F32"])}), "TypeError|has the dtype"),
        "data beyond the end": (written({"a": entry(shape=[3, 3], offsets=(0, 36))}), "24 of 36 bytes"),
        "data backwards": (written({"a": entry(offsets=(24, 0))}), "a shape of another size"),
        "data over data": (written({"a": entry(), "b": entry()}), "lie over others"),
        "a gap": (written({"a": entry(offsets=(4, 28))}, bytes(28)), "leave a gap"),
        "bytes behind": (written({"a": entry()}, bytes(30)), "6 bytes follow its data"),
        "a name twice": (written(again), "ValueError"),
        "a key too many": (written({"a": {**entry(), "code": "x"}}), "TypeError"),
        "a key too few": (written({"a": {"dtype": "F32"}}), "TypeError"),
        "a tensor that is a list": (written({"a": [1]}), "TypeError"),
        "metadata that are numbers": (written({"__metadata__": {"x": 1}, "a": entry()}), "TypeError"),
        "metadata that are a text": (written({"__metadata__": "x", "a": entry()}), "AttributeError"),
        "deep": (written(b'{"a":' + b"[" * 200_000), "RecursionError"),
        "many": (written(b"{" * 300_001), "more tensors than any model"),
        "a long number": (written(b'{"a":' + b"9" * 100_000 + b"}"), "ValueError"),
        "no JSON": (written(b"{hello}"), "JSONDecodeError"),
        "no UTF-8": (written(b'{"\xff": 1}'), "UnicodeDecodeError"),
        "a number of NaN": (written(b'{"a": NaN}'), "TypeError"),
    }
    return {
        f"header: {title}": (write, "f.safetensors", message) for title, (write, message) in cases.items()
    }


def _renamed() -> dict[str, Case]:
    lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 112000000\n"
    contents = {
        "a web page": (b"<!DOCTYPE html><html>Sign in</html>", "is a web page"),
        "a pointer of LFS": (lfs, "is a pointer of Git LFS"),
        "nothing": (b"", "is empty"),
        "an HDF5 file": (b"\x89HDF\r\n\x1a\n" + bytes(100), "is an HDF5 file"),
        "a GGUF file": (b"GGUF" + bytes(100), "is a GGUF file"),
        "a tar": (bytes(257) + b"ustar" + bytes(250), "is a tar archive"),
        "a bare pickle": (program(name("os.system")), "is a Python pickle"),
        "a text": (b"cos\nsystem\n(S'id'\ntR.", "no file of PyTorch"),
        "a program": (b"\x7fELF" + bytes(100), "no file of PyTorch"),
    }
    found: dict[str, Case] = {
        title: (lambda path, content=content: path.write_bytes(content), "f.pth", message)
        for title, (content, message) in contents.items()
    }
    found["of before 2020"] = (
        lambda path: torch.save(TENSORS, path, _use_new_zipfile_serialization=False),
        "f.pth",
        r"torch\.save\(torch\.load\(F, weights_only=True\), NEW\)",
    )
    for end in ("ckpt", "pth", "pt", "bin"):
        found[f"safetensors as {end}"] = (
            lambda path: official.write_safetensors(path, TENSORS),
            f"f.{end}",
            "is a safetensors file",
        )
    found["PyTorch as safetensors"] = (
        lambda path: official.write_bin(path, TENSORS),
        "f.safetensors",
        "is a PyTorch file",
    )
    return found


def _special() -> dict[str, Case]:
    def link(target: str) -> Callable[[Path], object]:
        return lambda path: path.symlink_to(target or path)

    return {
        "a pipe": (os.mkfifo, "f.pth", "is not a file"),
        "/dev/zero": (link("/dev/zero"), "f.pth", "is not a file"),
        "a link to nothing": (link("/nowhere/at/all"), "f.pth", "No such file"),
        "a link to itself": (link(""), "f.pth", "symbolic link"),
        "a folder": (lambda path: path.mkdir(), "f.pth", "is a folder"),
        "a link to a folder": (link("/"), "f.pth", "is a folder"),
    }


def _cut_off() -> dict[str, Case]:
    """Good files that end too early."""

    def cut(write: Callable[[Path], object], part: float) -> Callable[[Path], object]:
        def written(path: Path) -> None:
            write(path)
            content = path.read_bytes()
            path.write_bytes(content[: int(len(content) * part)])

        return written

    writers: dict[str, Callable[[Path], object]] = {
        "f.pth": lambda path: official.write_release(path, TENSORS),
        "f.pt": lambda path: official.write_torchscript(path, TENSORS),
        "f.safetensors": lambda path: official.write_safetensors(path, TENSORS),
    }
    return {
        f"{file} cut off at {part}": (cut(write, part), file, "cut off|cannot be read as safetensors")
        for file, write in writers.items()
        for part in (0.01, 0.1, 0.3, 0.5, 0.8, 0.95, 0.999)
    }

"""Zip archives that are hostile or broken around their pickle, and TorchScript archives that run code."""

from __future__ import annotations

import struct
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch

from tests.attacks.assembling import GOOD, NUMBERS, archive, members, name, program
from tests.reference.foreign import official_files as official

#: Writes the file; the name of the file; a part of the message of its refusal.
Case = tuple[Callable[[Path], object], str, str]
TENSORS = {"a": torch.arange(NUMBERS, dtype=torch.float32).reshape(2, 3), "b.c": torch.ones(40).half()}


def all_cases(canary: str) -> dict[str, Case]:
    """Every attack of this module."""
    return {**_entries(), **_raw_archives(), **_scripts(canary)}


def _entries() -> dict[str, Case]:
    """Archives with entries that no file of torch.save has."""
    good = members()
    cases = {
        "the parent folder": ({**good, "a/../b": b""}, "an entry of the name a/../b"),
        "another root": ({**good, "../data/1": b""}, "an entry of the name ../data/1"),
        "an absolute name": ({**good, "/etc/passwd": b""}, "an entry of the name /etc/passwd"),
        "a backslash": ({**good, "a/data\\..\\1": b""}, "an entry of the name"),
        "a drive": ({**good, "C:/x": b""}, "an entry of the name C:/x"),
        "two folders": ({**good, "b/data/1": b""}, "is not in its folder"),
        "no folder": ({"data.pkl": GOOD}, "is not in its folder"),
        "a folder deeper": ({f"x/{key}": value for key, value in good.items()}, "PyTorch writes no entry"),
        "code": ({**good, "a/code.py": b"import os"}, "PyTorch writes no entry code.py"),
        "code of TorchScript": ({**good, "a/code/x.py": b""}, "PyTorch writes no entry code/x.py"),
        "another case": ({**good, "a/DATA.PKL": b""}, "two entries DATA.PKL"),
        "big-endian": ({**good, "a/byteorder": b"big"}, "big-endian machine"),
        "a long byte order": ({**good, "a/byteorder": b"x" * 9}, "states no byte order"),
        "a large pickle": ({**good, "a/data.pkl": bytes(4_000_001)}, "data.pkl has 4000001 bytes"),
        "no data": ({"a/data.pkl": GOOD, "a/version": b"3"}, "are missing"),
        "a zip of something else": ({"a/readme.txt": b""}, "is a zip archive"),
        "a NumPy archive": ({"a.npy": b""}, "is a NumPy archive"),
        "many entries": ({**good, **{f"a/data/{n}": b"" for n in range(1, 20_001)}}, "it has 20004 entries"),
    }
    found: dict[str, Case] = {
        title: (lambda path, entries=entries: archive(path, entries), "f.pth", message)
        for title, (entries, message) in cases.items()
    }
    zeros = {**good, "a/data/0": bytes(20_000_000)}
    for title, way in (("deflated", zipfile.ZIP_DEFLATED), ("bzip2", zipfile.ZIP_BZIP2)):
        found[title] = (lambda path, way=way: archive(path, zeros, way), "f.pth", "which PyTorch never does")
    return found


def _raw_archives() -> dict[str, Case]:
    """Archives whose two lists of entries disagree, or that have more than one end."""

    def changed(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
        return lambda path: path.write_bytes(change(archive(path, members(**{"data/7": b""})).read_bytes()))

    def field(content: bytes, signature: bytes, offset: int, value: bytes, which: int = 0) -> bytes:
        place = -1
        for _ in range(which + 1):
            place = content.index(signature, place + 1)
        return content[: place + offset] + value + content[place + offset + len(value) :]

    local, listed, end = b"PK\3\4", b"PK\1\2", b"PK\5\6"
    hidden = archive_bytes({**members(), "a/data.pkl": program(name("os.system"))})
    cases: dict[str, tuple[Callable[[bytes], bytes], str]] = {
        "encrypted": (lambda c: field(field(c, local, 6, b"\1\0"), listed, 8, b"\1\0"), "encrypted"),
        "another name in front": (lambda c: field(c, local, 30, b"b"), "not what the list of entries says"),
        "another size in front": (lambda c: field(c, local, 22, b"\1"), "not what the list of entries says"),
        "another way in front": (lambda c: field(c, local, 8, b"\x08"), "not what the list of entries says"),
        "no entry there": (lambda c: field(c, local, 0, b"XX", which=2), "not what the list of entries says"),
        "two entries in one place": (
            lambda c: field(c, listed, 42, struct.pack("<L", 0), which=3),
            "not what the list of entries says|over another one",
        ),
        "a size beyond the end": (
            lambda c: field(c, listed, 20, struct.pack("<LL", 2**31, 2**31), which=2),
            "lies over another one|not what the list",
        ),
        "two sizes": (lambda c: field(c, listed, 24, struct.pack("<L", 2**31), which=2), "states two sizes"),
        "a zero in a name": (lambda c: c.replace(b"a/version", b"a/vers\0on"), "an entry of the name"),
        "two entries of one name": (lambda c: c.replace(b"a/data/7", b"a/data/0"), "two entries data/0"),
        "a checksum": (
            lambda c: c.replace(GOOD, GOOD.replace(b"cpu", b"gpu")),
            "the checksum of its data.pkl",
        ),
        "something in front": (lambda c: b"PK\3\4 run me" + c, "not where it should be"),
        "something behind": (lambda c: c + b"x", "without its end"),
        "a comment": (lambda c: c[:-2] + b"\1\0x", "without its end"),
        "a second archive in front": (lambda c: hidden + c, "not where it should be"),
        "a second archive behind": (lambda c: c + hidden, "not where it should be"),
        "another disk": (lambda c: field(c, end, 4, b"\1"), "several files"),
        "fewer entries": (lambda c: field(c, end, 10, b"\1\0"), "several files"),
        "a list of 4 GB": (lambda c: field(c, end, 12, b"\xff" * 4), "not where it should be"),
        "a second end": (
            lambda c: c[:-22] + struct.pack("<4sLQL", b"PK\6\7", 0, 10, 1) + c[-22:],
            "its end is not as PyTorch writes it",
        ),
    }
    found: dict[str, Case] = {
        title: (changed(change), "f.pth", message) for title, (change, message) in cases.items()
    }

    def with_two_lists(path: Path) -> None:
        content = official.write_bin(path, TENSORS).read_bytes()
        path.write_bytes(field(content, b"PK\6\6", 48, b"\1"))

    found["two lists"] = (with_two_lists, "f.pth", "two lists of entries differ")
    return found


def archive_bytes(entries: dict[str, bytes]) -> bytes:
    """The content of a zip archive."""
    with tempfile.TemporaryDirectory() as folder:
        return archive(Path(folder) / "f", entries).read_bytes()


def _scripts(canary: str) -> dict[str, Case]:
    """TorchScript archives that run code when they are loaded, and pickles with more than modules."""

    def script(pickle: bytes) -> Callable[[Path], object]:
        return lambda path: archive(path, members(pickle, **{"constants.pkl": program(b")")}))

    module = name("__torch__.M") + b")\x81"
    return {
        "a script that runs": (lambda path: write_running_script(path, canary), "f.pt", "has no state"),
        "a script with os": (script(program(name("os.system") + b")R")), "f.pt", "os.system"),
        "a script with Lightning": (
            script(program(name("pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint"))),
            "f.pt",
            "ModelCheckpoint",
        ),
        "a module with arguments": (script(program(name("__torch__.M") + b"N\x85\x81")), "f.pt", "no Torch"),
        "a module with two states": (script(program(module + b"}b}b")), "f.pt", "has no state"),
        "a state with numbers": (script(program(module + b"}K\1Nsb")), "f.pt", "has no state"),
        "a module in itself": (
            script(program(module + b"q\0}X\1\0\0\0xh\0sb")),
            "f.pt",
            "holds itself",
        ),
        "a class with a zero in its name": (script(program(name("__torch__.A\0"))), "f.pt", "__torch__.A"),
        "no module": (script(GOOD), "f.pt", "is not a TorchScript module"),
        "a module called": (script(program(name("__torch__.M") + b")R")), "f.pt", "unusual arguments"),
    }


def write_running_script(path: Path, canary: str) -> None:
    """A TorchScript archive that writes the file `canary` when `torch.jit.load` loads it."""

    class Running(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.training = False
            self.place = canary

        @torch.jit.export
        def __getstate__(self) -> tuple[str, bool]:
            return self.place, self.training

        @torch.jit.export
        def __setstate__(self, state: tuple[str, bool]) -> None:
            self.place = state[0]
            self.training = state[1]
            torch.save(torch.ones(1), self.place)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Running()).save(str(path))

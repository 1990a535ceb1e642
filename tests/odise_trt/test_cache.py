"""Where caches are, what is in them, and how they are cleared."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from odise_trt.cache import cached_tables, clear, ensure_writable, replacing, vocabulary_folder
from odise_trt.errors import OutputError

NAME = "0123456789abcdef" * 4 + ".npz"


def put(folder: Path, name: str, names: list[list[str]]) -> Path:
    with replacing(folder / name) as file:
        np.savez(file, names=np.array(json.dumps(names)))
    return folder / name


def test_tables_lie_beside_the_bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ODISE_CACHE", raising=False)
    assert vocabulary_folder(tmp_path / "engines" / "demo") == tmp_path / "engines" / "vocabularies"


def test_a_bundle_given_relatively_has_its_tables_beside_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ODISE_CACHE", raising=False)
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path / "demo")
    assert vocabulary_folder(Path(".")) == tmp_path / "vocabularies"


def test_the_environment_moves_the_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ODISE_CACHE", str(tmp_path))
    assert vocabulary_folder(Path("engines/demo")) == tmp_path / "vocabularies"


def test_a_listing_says_what_a_table_is_of_and_how_large(tmp_path: Path) -> None:
    path = put(tmp_path, NAME, [["purse", "handbag"], ["a"], ["b"], ["c"], ["d"]])
    (tmp_path / "notes.npz").touch()
    (table,) = cached_tables(tmp_path)
    assert table.path == path
    assert table.bytes == path.stat().st_size
    assert table.description == "5 categories: purse, a, b, c, ..."


def test_a_damaged_table_is_listed_as_such(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"damaged")
    (table,) = cached_tables(tmp_path)
    assert "unreadable" in table.description


def test_no_folder_is_an_empty_cache(tmp_path: Path) -> None:
    assert cached_tables(tmp_path / "none") == []
    assert clear(tmp_path / "none").files == 0


def test_clearing_removes_tables_and_unfinished_ones_and_nothing_else(tmp_path: Path) -> None:
    put(tmp_path, NAME, [["purse"]])
    (tmp_path / f".{NAME}.{'0' * 32}.tmp").write_bytes(b"abc")
    kept = [tmp_path / "notes.npz", tmp_path / f"{'A' * 64}.npz", tmp_path / "photo.jpg"]
    for path in kept:
        path.touch()
    (tmp_path / f"{'1' * 64}.npz").mkdir()
    size = sum(path.stat().st_size for path in tmp_path.iterdir() if path.is_file())
    cleared = clear(tmp_path)
    assert (cleared.files, cleared.bytes) == (2, size)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in kept} | {f"{'1' * 64}.npz"}


def test_an_unfinished_file_is_never_seen_under_its_name(tmp_path: Path) -> None:
    path = tmp_path / NAME
    with replacing(path) as file:
        file.write(b"half")
        assert not path.exists()
    assert path.read_bytes() == b"half"


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(b"old")

    def interrupted() -> None:
        with replacing(path) as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_many_writers_and_readers_see_whole_files_only(tmp_path: Path) -> None:
    path = tmp_path / NAME
    contents = [bytes([number]) * 200_000 for number in range(8)]
    path.write_bytes(contents[0])
    torn: list[bytes] = []

    def write(content: bytes) -> None:
        for _ in range(10):
            with replacing(path) as file:
                file.write(content)

    def read() -> None:
        for _ in range(100):
            found = path.read_bytes()
            if found not in contents:
                torn.append(found)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    threads += [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not torn
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="ODISE_CACHE"):
        ensure_writable(tmp_path / "file")
    with (
        pytest.raises(OutputError, match="ODISE_CACHE"),
        replacing(tmp_path / "file" / NAME),
    ):
        pass

"""Where caches are, what is in them, and how they are cleared."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from odise_trt import table_cache
from odise_trt.cli import app
from odise_trt.errors import OutputError
from odise_trt.files.paths import Found
from odise_trt.table_cache import (
    cached_tables,
    clear,
    ensure_writable,
    find_folder,
    replacing_table,
    vocabulary_folder,
)
from tests.odise_trt import toy_bundle

NAME = "0123456789abcdef" * 4 + ".npz"


def put(folder: Path, name: str, names: list[list[str]]) -> Path:
    with replacing_table(folder / name) as file:
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
    assert vocabulary_folder(Path()) == tmp_path / "vocabularies"


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
    with replacing_table(path) as file:
        file.write(b"half")
        assert not path.exists()
    assert path.read_bytes() == b"half"


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(b"old")

    def interrupted() -> None:
        with replacing_table(path) as file:
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
            with replacing_table(path) as file:
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
        replacing_table(tmp_path / "file" / NAME),
    ):
        pass


def test_the_cache_is_found_from_a_bundle_its_folder_and_itself(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("ODISE_CACHE", raising=False)
    toy_bundle.make(tmp_path / "engines" / "toy")
    tables = tmp_path / "engines" / "vocabularies"
    for place in (tmp_path / "engines" / "toy", tmp_path / "engines", tables):
        tables.mkdir(exist_ok=True)
        assert find_folder(place) == tables
    put(tables, NAME, [["a"]])
    moved = tables.rename(tmp_path / "elsewhere")
    assert find_folder(moved) == moved
    # Nothing has been cached yet.
    assert find_folder(tmp_path / "engines") == tables


def test_a_place_that_has_to_do_with_no_cache_is_an_error_that_says_what_was_looked_for(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.delenv("ODISE_CACHE", raising=False)
    (tmp_path / "photo.jpg").touch()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    places = {
        tmp_path / "nowhere": "No such file or directory",
        tmp_path / "photo.jpg": "is a file, not a folder",
        tmp_path / "gone": "cannot be looked into",
        tmp_path: "holds neither bundles nor a cache",
        Path("x" * 300): "File name too long",
        Path("a\0b"): "null byte",
    }
    for place, says in places.items():
        for arguments in ([str(place)], [str(place), "--clear"]):
            with pytest.raises(OutputError, match=says) as caught:
                CliRunner().invoke(app, ["cache", *arguments], catch_exceptions=False)
            assert "name a bundle" in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_a_folder_that_may_not_be_looked_into_says_so(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    for place in (closed, closed / "engines"):
        with pytest.raises(OutputError, match="Permission denied"):
            find_folder(place)


def test_an_empty_name_is_no_folder() -> None:
    assert CliRunner().invoke(app, ["cache", ""]).exit_code == 2


def test_a_home_that_is_not_known_is_an_error(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("ODISE_CACHE", "~nobodyhere/x")
    with pytest.raises(OutputError, match="ODISE_CACHE is '~nobodyhere/x'"):
        vocabulary_folder(tmp_path / "demo")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ODISE_CACHE", "~/x")
    assert vocabulary_folder(tmp_path / "demo") == tmp_path / "x" / "vocabularies"


def test_a_table_that_goes_away_while_the_cache_is_listed_is_left_out(tmp_path: Path, monkeypatch) -> None:
    put(tmp_path, NAME, [["a"]])
    look = table_cache.kind_of

    def another_process_clears(path: Path) -> Found:
        found = look(path)
        path.unlink()
        return found

    monkeypatch.setattr(table_cache, "kind_of", another_process_clears)
    assert cached_tables(tmp_path) == []

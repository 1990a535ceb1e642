"""What is at a path, for every path that a person can give."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odise_trt.errors import OdiseError
from odise_trt.files.paths import Kind, expanded, home_is_unknown, is_address, kind_of


@pytest.fixture
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder as working folder: names of sockets are short."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_there_is_told(short: Path) -> None:
    Path("file").touch()
    Path("folder").mkdir()
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    Path("link").symlink_to("file")
    Path("gone").symlink_to("nowhere")
    Path("loop").symlink_to("loop")
    expected = {
        "file": Kind.FILE,
        "link": Kind.FILE,
        "folder": Kind.FOLDER,
        "folder/": Kind.FOLDER,
        "pipe": Kind.PIPE,
        "socket": Kind.SOCKET,
        os.devnull: Kind.DEVICE,
        "gone": Kind.BROKEN_LINK,
        "loop": Kind.BROKEN_LINK,
        "nothing": Kind.NOTHING,
        "file/below": Kind.NOTHING,
        "": Kind.NOTHING,
    }
    assert {path: kind_of(path).kind for path in expected} == expected


def test_why_a_path_cannot_be_looked_at_is_told() -> None:
    assert kind_of("x" * 300) == kind_of(Path("x" * 300))
    assert kind_of("x" * 300).why == "File name too long"
    assert kind_of("nothing").why == "No such file or directory"
    assert "null" in kind_of("a\0b").why


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_path_in_a_closed_folder_is_told_to_those_who_may_not_enter(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "a.jpg").touch()
    closed.chmod(0)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        if os.getuid() == 0:
            # pytest's own folders are for their owner alone.
            for folder in (tmp_path, *tmp_path.parents[:3]):
                folder.chmod(0o755)
            os.setuid(65534)
        found = kind_of(closed / "a.jpg")
        os.write(writer, f"{found.kind}: {found.why}".encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with open(reader) as said:
        assert said.read() == "not known: Permission denied"


@given(st.text())
def test_no_text_makes_the_questions_raise(text: str) -> None:
    kind_of(text)
    kind_of(f"~{text}")
    home_is_unknown(expanded(f"~{text}"))


@given(st.text(st.characters(categories=["Cs"]), min_size=1))
def test_nor_do_halves_of_letters(text: str) -> None:
    assert not kind_of(text).is_there
    expanded(f"~{text}")


def test_the_home_is_put_in_where_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert expanded("~/x") == "/home/ann/x"
    assert expanded(Path("~/x")) == "/home/ann/x"
    assert expanded("x/~") == "x/~"
    assert expanded("./~") == "./~"


def test_a_home_that_nobody_has_leaves_the_path_as_it_is() -> None:
    assert expanded("~nobodyhere/x") == "~nobodyhere/x"
    assert home_is_unknown("~nobodyhere/x")
    assert not home_is_unknown("x~")
    assert not home_is_unknown("./~nobodyhere")


def test_the_words_suit_messages() -> None:
    found = kind_of(os.devnull)
    assert str(OdiseError(f"{os.devnull} is {found.kind}")) == f"{os.devnull} is a device"


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("s3://bucket/x", True),
        ("https://x.org/a.zip", True),
        ("git+ssh://host/x", True),
        ("C://x", False),
        ("outputs/eval", False),
        ("a b://c", False),
        (Path("outputs/eval"), False),
        ("://x", False),
        ("", False),
        ("./s3://x", False),
    ],
)
def test_an_address_is_told_from_a_path(path: str | Path, address: bool) -> None:
    assert is_address(path) == address

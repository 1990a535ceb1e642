"""Files with the state of a training: exact, streamed, and typed where they cannot be written or read."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch

from reference.training.state_file import read_state, why_unreadable, write_state
from tests.full_disk import files_of_at_most


def test_what_is_written_is_read_back_exactly(tmp_path: Path) -> None:
    state = {"step": 3, "moments": [torch.arange(5.0), torch.zeros(2, 3, dtype=torch.float16)], "name": "a"}
    write_state(tmp_path / "state.pt", state)
    found = read_state(tmp_path / "state.pt")
    assert found["step"] == 3
    assert found["name"] == "a"
    assert all(torch.equal(one, other) for one, other in zip(found["moments"], state["moments"], strict=True))


def test_pytorch_reads_it_as_a_file_of_its_own(tmp_path: Path) -> None:
    state = {"weight": torch.arange(4.0)}
    write_state(tmp_path / "ours.pt", state)
    assert torch.equal(torch.load(tmp_path / "ours.pt", weights_only=True)["weight"], state["weight"])


@pytest.mark.parametrize("room", [0, 10_000, 300_000])
def test_a_full_disk_is_an_error_of_the_system(room: int, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File too large") as caught, files_of_at_most(room):
        write_state(tmp_path / "state.pt", {"moments": torch.zeros(100_000)})
    assert caught.value.errno == errno.EFBIG


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut off"])
def test_why_a_damaged_file_cannot_be_read_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        read_state(tmp_path / "state.pt")
    assert len(why_unreadable(caught.value).splitlines()) == 1


def test_why_a_missing_file_cannot_be_read_is_in_the_words_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        read_state(tmp_path / "none.pt")
    assert why_unreadable(caught.value) == "No such file or directory"

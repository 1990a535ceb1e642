"""Two names are swapped in one step, or not at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from odise_trt.files.exchange import exchange


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux swaps names")
def test_two_folders_take_each_others_name(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not exchange(tmp_path / "new", tmp_path / "old"):
        pytest.skip("this file system swaps no names")
    assert os.listdir(tmp_path / "old") == ["new"]
    assert os.listdir(tmp_path / "new") == ["old"]


def test_nothing_happens_if_one_of_them_is_missing(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    assert not exchange(tmp_path / "new", tmp_path / "old")
    assert os.listdir(tmp_path) == ["old"]


def test_a_system_that_cannot_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    assert not exchange(tmp_path / "new", tmp_path / "old")

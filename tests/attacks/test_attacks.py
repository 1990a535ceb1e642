"""Hostile files are refused at once, with a typed error, and nothing in them runs.

All files are opened in one process apart, whose memory is limited. The canary, a file that anything in them
would make, is not there afterwards.
"""

from __future__ import annotations

import pickle
import re
import sys
import warnings
from pathlib import Path

import pytest
import torch

from tests.attacks import hostile_archives, hostile_files, hostile_pickles, lying_pickles
from tests.attacks.assembling import archive, members
from tests.attacks.opened_apart import Opened, opened_apart

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured by /proc")

#: Where attacks would write. It is a name in the folder of each run, filled in when files are made.
_CANARY = "odise-canary"
_GOOD = "a good file"


def pickles(canary: str) -> hostile_pickles.Cases:
    return hostile_pickles.all_cases(canary) | lying_pickles.all_cases()


def files(canary: str) -> dict[str, hostile_archives.Case]:
    return hostile_archives.all_cases(canary) | hostile_files.all_cases()


class Attacked:
    """The files of all attacks, opened."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.canary = folder / _CANARY
        self.files = folder / "files"
        self.files.mkdir()
        self.expected: dict[str, str] = {}
        self._names: dict[str, str] = {}
        for title, (content, message) in pickles(str(self.canary)).items():
            archive(self._place(title, "f.pth", message), members(content))
        for title, (write, name, message) in files(str(self.canary)).items():
            write(self._place(title, name, message))
        archive(self._place(_GOOD, "f.pth", ""), members())
        self._opened = opened_apart(self.files, root)

    def __getitem__(self, title: str) -> Opened:
        return self._opened[self._names[title]]

    def _place(self, title: str, name: str, message: str) -> Path:
        assert title not in self.expected, title
        self.expected[title] = message
        self._names[title] = f"{len(self._names):03}{name}"
        return self.files / self._names[title]


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Attacked:
    return Attacked(tmp_path_factory.mktemp("attacks"), root)


@pytest.mark.parametrize("title", [*pickles(_CANARY), *files(_CANARY)])
def test_it_is_refused_in_a_second_and_200_MB_with_its_reason(title, attacked):
    opened = attacked[title]
    assert opened.error == "WeightsError", opened.message
    assert re.search(attacked.expected[title], opened.message)
    assert "\x1b" not in opened.message
    assert opened.seconds < 1
    assert opened.megabytes < 200


def test_nothing_ran(attacked):
    assert not attacked.canary.exists()


def test_nothing_is_left_behind(attacked):
    assert {path.name for path in attacked.files.parent.iterdir()} == {"files"}


@pytest.mark.parametrize(
    "title", ["os.system", "builtins.eval", "INST", "of protocol 4", "of protocol 0", "a chain of getattr"]
)
def test_pickle_itself_would_have_run_it(title, tmp_path):
    canary = tmp_path / "canary"
    content, _ = hostile_pickles.running(str(canary))[title]
    result = pickle.loads(content)
    if hasattr(result, "close"):
        result.close()
    assert canary.exists()


def test_torch_jit_load_would_have_run_it(tmp_path):
    canary = tmp_path / "canary"
    hostile_archives.write_running_script(tmp_path / "f.pt", str(canary))
    canary.unlink(missing_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.load(str(tmp_path / "f.pt"))
    assert canary.exists()


def test_a_good_file_among_them_opens(attacked):
    assert (attacked[_GOOD].error, attacked[_GOOD].message) == ("", "None")

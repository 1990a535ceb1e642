"""`odise-trt vocab`, and how the command line says what could be meant otherwise."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from odise_trt.cli import app
from odise_trt.vocabulary import PRESETS, Vocabulary


def vocab(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["vocab", *arguments], catch_exceptions=False)


def process(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A bash script in which `vocab` is the verb."""
    verb = f'vocab() {{ "{sys.executable}" -m odise_trt vocab "$@"; }}\n'
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.run(
        ["bash", "-c", verb + script],
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": root, "COLUMNS": "60", **environment},
    )


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("option", [(), ("--json",)])
def test_what_vocab_prints_into_a_file_is_a_vocabulary(
    preset: str, option: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "mine.txt"
    path.write_text(vocab(preset, *option).output, encoding="utf-8")
    assert Vocabulary.parse(path) == Vocabulary.preset(preset)


def test_vocab_prints_names_in_quotes_where_they_need_them() -> None:
    printed = vocab('"Hello, Kitty", bow; C#', "--stuff", '"Hello, Kitty"').output
    assert printed == '# 2 categories: 1 things, 1 stuff\nstuff: "Hello, Kitty", bow\nthing: "C#"\n'


def test_vocab_prints_utf8_into_a_file_whatever_the_terminal_has(tmp_path: Path) -> None:
    done = process(
        'vocab "Tüte; 猫" > a.txt; vocab "Tüte; 猫" --json > a.json', tmp_path, PYTHONIOENCODING="ascii"
    )
    assert done.stderr == b""
    for name in ("a.txt", "a.json"):
        assert Vocabulary.parse(tmp_path / name).names == ("Tüte", "猫")


def test_a_vocabulary_may_come_from_another_process(tmp_path: Path) -> None:
    script = "vocab <(printf 'cat\\ndog\\n') --json; vocab <(vocab 'cat; dog' --json) --json"
    done = process(f"{script}; printf 'cat\\ndog\\n' | vocab /dev/stdin --json", tmp_path)
    assert done.stderr == b""
    printed = done.stdout.decode().split("]\n[")
    assert len(printed) == 3
    assert all('"cat"' in part and '"dog"' in part for part in printed)


def test_a_vocabulary_that_could_be_meant_otherwise_is_said_once_and_without_a_place_in_the_code(
    tmp_path: Path,
) -> None:
    done = process('vocab "cat, dog" --json', tmp_path)
    assert json.loads(done.stdout) == [{"id": 1, "names": ["cat", "dog"], "isthing": True}]
    said = done.stderr.decode()
    assert said.count("VocabularyWarning: 'cat, dog' is read as one category with 2 names: cat, dog\n") == 1
    assert "end with one: 'cat, dog;'" in said
    assert ".py" not in said


def test_on_a_terminal_vocab_shows_a_table_and_a_copy_of_it_is_told(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    root = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, "-m", "odise_trt", "vocab", "purse, handbag; sky"]
    with subprocess.Popen(
        command, stdout=follower, env={**os.environ, "PYTHONPATH": root, "TERM": "dumb", "COLUMNS": "60"}
    ) as running:
        assert running.wait(60) == 0
    os.close(follower)
    shown = os.read(leader, 10_000).decode().replace("\r", "")
    os.close(leader)
    assert shown.splitlines()[0].split() == ["id", "kind", "names"]
    assert "purse, handbag" in shown
    (tmp_path / "copied.txt").write_text(shown)
    said = process("vocab copied.txt", tmp_path).stderr.decode()
    assert "line 1 is the head of a table" in said
    assert "odise-trt vocab ... > words.txt" in said


def test_options_without_a_vocabulary_are_an_error() -> None:
    for option in (("--json",), ("--things", "cat"), ("--stuff", "sky")):
        assert vocab(*option).exit_code == 2

"""Tab in bash: verbs, options, and the names that options take."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from export.completion import optional_stages_like, stages_like
from export.stages import OPTIONAL_STAGES, all_stages
from odise_trt.bundle import rebuild
from odise_trt.cli import app
from odise_trt.cli.completion import vocabularies_like
from odise_trt.vocabulary import PRESETS
from tests.door import call

VERBS = ("run", "vocab", "inspect", "doctor", "cache")
TOOLKIT_VERBS = (
    "bench",
    "build",
    "check",
    "convert",
    "data",
    "debug",
    "download",
    "eval",
    "features",
    "finish",
    "scenes",
    "train",
    "train-demo",
)


def odise(root: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "odise_trt", *words],
        cwd=root,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def asked(line: str) -> dict[str, str]:
    """What bash puts into the environment to learn what fits at the end of a line."""
    position = str(len(line.split(" ")) - 1)
    return {"_ODISE_TRT_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": position}


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("odise-trt ", [*VERBS, *TOOLKIT_VERBS]),
        ("odise-trt build --backend tensorrt", ["tensorrt", "tensorrt_rtx"]),
    ],
)
def test_a_shell_is_offered_what_fits(line: str, names: list[str], root: Path) -> None:
    done = odise(root, **asked(line))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.split() == names


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("odise-trt tr", ["train", "train-demo"]),
        ("odise-trt run --o", ["--output", "--overwrite", "--overlap-threshold"]),
        ("odise-trt build --pa", ["--parity-windows"]),
        ("odise-trt train --check", ["--checkpointing", "--checkpoint-steps", "--checkpoint-minutes"]),
        ("odise-trt data ", ["list", "verify", "prepare"]),
        ("odise-trt download odise-la", ["odise-label", "odise-label-release"]),
        ("odise-trt bench s", ["stages", "synonyms"]),
        ("odise-trt bench stages --re", ["--repeats"]),
        ("odise-trt bench re", ["readme"]),
        ("odise-trt data verify ade", ["ade150", "ade847"]),
        ("odise-trt run --task s", ["semantic"]),
        ("odise-trt run --vocab coco+ade", ["coco+ade150", "coco+ade847"]),
        ("odise-trt vocab pc", ["pc59", "pc459"]),
        ("odise-trt build --preset ", ["odise-label", "odise-caption", "demo", "demo-caption"]),
        ("odise-trt build --stage c", ["captioner", "classify", "clip_pool", "cut"]),
        ("odise-trt train --preset odise-c", ["odise-caption"]),
        ("odise-trt eval --dataset scenes-", ["scenes-names", "scenes-synonyms"]),
        ("odise-trt eval --dataset lv", ["lvis"]),
        ("odise-trt scenes --without b", ["boat", "ball", "bird", "balloon"]),
    ],
)
def test_options_and_the_names_they_take_are_offered(
    line: str, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in asked(line).items():
        monkeypatch.setenv(name, value)
    # In this process: two dozen of their own would take seven seconds.
    done = call(lambda: app(prog_name="odise-trt"))
    assert (done.status, done.stderr) == (0, "")
    assert sorted(done.stdout.split()) == sorted(names)


def test_every_stage_and_every_vocabulary_can_be_completed() -> None:
    assert stages_like("") == list(all_stages())
    assert optional_stages_like("") == list(OPTIONAL_STAGES) == list(rebuild.OPTIONAL_STAGES)
    assert vocabularies_like("") == list(PRESETS)


def test_the_script_for_a_shell_asks_odise_trt(root: Path) -> None:
    # Without this, typer looks for the shell among the parents of the process; in a test there may be none.
    done = odise(root, "--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.returncode == 0, done.stderr
    assert "complete -o default -F _odise_trt_completion odise-trt" in done.stdout
    assert "_ODISE_TRT_COMPLETE=complete_bash" in done.stdout


def test_completion_is_installed_for_a_shell(root: Path, tmp_path: Path) -> None:
    environment = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "HOME": str(tmp_path)}
    done = odise(root, "--install-completion", "bash", **environment)
    assert done.returncode == 0, done.stderr
    assert "bash completion installed in" in done.stdout
    (script,) = tmp_path.glob(".bash_completions/odise-trt.sh")
    assert "_ODISE_TRT_COMPLETE=complete_bash" in script.read_text()
    assert str(script) in (tmp_path / ".bashrc").read_text()

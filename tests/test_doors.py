"""A checkout without its extras: every command says in one message what to install."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

#: Runs commands where some packages are not installed. What every installation has is imported once: each
#: command begins as a copy of this process, and ends as a Python of its own does.
WITHOUT = """
import json, os, runpy, sys
import numpy, PIL.Image, rich.console, rich.progress, typer.main
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
missing = set()
for line in sys.stdin:
    command = os.fork()
    if not command:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(command, 0)[1]), flush=True)
else:
    sys.exit()
streams, names, (door, *words) = json.loads(line)
for number, name in enumerate(streams):
    os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
missing.update(names)
sys.path.insert(0, "")
sys.argv = [door, *words]
if door.endswith(".py"):
    runpy.run_path(door, run_name="__main__")
else:
    runpy.run_module(door, run_name="__main__", alter_sys=True)
"""
EXTRAS = (
    "torch,torchvision,onnx,onnx_ir,onnxscript,diffusers,transformers,open_clip,safetensors,filelock,psutil,"
    "faster_coco_eval,pycocotools,scipy,HanTa,tensorboard,tensorrt,tensorrt_rtx,requests"
)
BUILD = ["--stage", "clip_pool", "--output"]
PHOTO = "assets/photo.jpg"
DOORS = {
    "build_engines.py": (["export/build_engines.py", *BUILD], "export"),
    "odise-trt build": (["odise_trt", "build", *BUILD], "export"),
    "odise-trt eval": (["odise_trt", "eval", "--dataset", "scenes", "--reference", "--output"], "eval"),
    "reference.eval": (["reference.eval", "--dataset", "scenes", "--output"], "eval"),
    "reference.train": (["reference.train", "--output"], "train"),
    "reference.demo": (["reference.demo", "--output"], "train"),
    "reference.visualize_features": (["reference.visualize_features", PHOTO, "--output"], "eval"),
    "odise-trt train": (["odise_trt", "train", "--output"], "train"),
    "odise-trt train-demo": (["odise_trt", "train-demo", "--output"], "train"),
    "odise-trt download": (
        ["odise_trt", "download", "sd-v1-3", "--accept-licenses", "--output"],
        "export",
    ),
    "odise-trt features": (["odise_trt", "features", PHOTO, "--output"], "eval"),
}
#: The other verbs, which need no extra or name it themselves.
VERBS = {
    "odise-trt scenes": ["odise_trt", "scenes"],
    "odise-trt data": ["odise_trt", "data", "prepare"],
    "odise-trt bench": ["odise_trt", "bench", "stages"],
    "reference.scenes": ["reference.scenes"],
    "benchmarks.stages": ["benchmarks.stages"],
    "benchmarks.mistakes": ["benchmarks.mistakes"],
    "benchmarks.words": ["benchmarks.words"],
}


@dataclass(frozen=True)
class Done:
    """What a person gets from a command."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[[str, list[str]], Done]


@pytest.fixture(scope="module")
def run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs a command in the checkout, where the packages named, with commas between, are not installed."""
    streams = [os.devnull, *(str(tmp_path_factory.mktemp("streams") / name) for name in ("out", "err"))]
    program = [sys.executable, "-c", WITHOUT]
    with subprocess.Popen(
        program, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as copied:

        def command(missing: str, words: list[str]) -> Done:
            assert copied.stdin is not None
            assert copied.stdout is not None
            print(json.dumps((streams, missing.split(","), words)), file=copied.stdin, flush=True)
            status = int(copied.stdout.readline())
            return Done(status, *(Path(name).read_text() for name in streams[1:]))

        yield command


@pytest.mark.parametrize("door", DOORS)
def test_a_command_without_its_extra_names_it(door: str, run: Run, tmp_path: Path) -> None:
    words, extra = DOORS[door]
    done = run(EXTRAS, [*words, str(tmp_path / "out")])
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first.startswith("OdiseError: the package ")
    assert first.endswith(" is not installed, which this command needs")
    assert second == f'  install it, in the checkout: pip install -e ".[{extra}]"'
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("door", [*DOORS, *VERBS])
def test_help_needs_no_extra(door: str, run: Run) -> None:
    if door in VERBS:
        words = VERBS[door]
    else:
        words, _ = DOORS[door]
        words = words[: 2 if words[0] == "odise_trt" else 1]
    done = run(EXTRAS, [*words, "--help"])
    assert done.returncode == 0, done.stderr
    assert "--help" in done.stdout


#: Sends Ctrl-C when the first package is imported that takes time, or the boundary.
CTRL_C = """
import os, runpy, signal, sys
class Impatient:
    def find_spec(self, name, *_):
        package = name.partition(".")[0]
        if name == "odise_trt.cli.boundary" or package in ("numpy", "PIL", "rich", "typer", "torch"):
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Impatient())
sys.path.insert(0, "")
door = sys.argv[1]
if door.endswith(".py"):
    runpy.run_path(door, run_name="__main__")
else:
    runpy.run_module(door, run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    "door",
    [
        *("odise_trt", "export/build_engines.py", "benchmarks.stages", "benchmarks.mistakes"),
        *("benchmarks.words", "reference.datasets", "reference.demo", "reference.eval"),
        *("reference.scenes", "reference.train", "reference.visualize_features"),
    ],
)
def test_ctrl_c_in_the_first_moments_shows_no_traceback(door: str, root: Path) -> None:
    command = [sys.executable, "-c", CTRL_C, door]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize(
    "package",
    [*(pytest.param(name, marks=pytest.mark.slow) for name in ("filelock", "onnxscript")), "safetensors"],
)
def test_one_package_that_is_missing_is_named(package: str, run: Run, tmp_path: Path) -> None:
    done = run(package, ["export/build_engines.py", *BUILD, str(tmp_path / "out")])
    assert done.returncode == 1
    assert done.stderr.startswith(f"OdiseError: the package {package} is not installed")
    assert "Traceback" not in done.stderr

"""The command line: its verbs, what they print and the status they end with."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command

import odise_trt
from odise_trt.cli import _odise_trt, app
from odise_trt.coco_panoptic import read_ids
from odise_trt.vocabulary import Vocabulary
from tests.door import Done, call
from tests.odise_trt import toy_bundle

WORDS = "red; green; blue"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle.make(tmp_path_factory.mktemp("engines") / "toy")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two pictures of three coloured stripes, and a file that is no image."""
    stripes = np.zeros((90, 120, 3), np.uint8)
    for number in range(3):
        stripes[:, 40 * number : 40 * (number + 1), number] = 255
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(stripes).save(folder / "one.png")
    Image.fromarray(stripes[:, ::-1]).save(folder / "two.png")
    (folder / "bad.jpg").write_text("not an image")
    return folder


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


def odise(*arguments: object) -> Done:
    """Call the command line in this process."""
    return call(_odise_trt, *arguments)


def process(*arguments: object, path: Path | None = None) -> Done:
    """Run the command line as a user does; `path` comes first in the search path for packages."""
    root = Path(__file__).resolve().parents[2]
    search = os.pathsep.join(str(place) for place in (path, root) if place is not None)
    done = subprocess.run(
        [sys.executable, "-m", "odise_trt", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": search},
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_run_writes_the_three_files_and_prints_what_and_where(
    bundle: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = process("run", photos / "one.png", "--engines", bundle, "--vocab", WORDS, "--output", out)
    assert done.status == 0, done.stderr
    assert {path.name for path in out.iterdir()} == {"one.overlay.png", "one.panoptic.png", "one.json"}
    for text in ("red", "green", "blue", "one.overlay.png", "one.json", "mask_head", "total"):
        assert text in done.stdout
    assert "random weights: the shapes are real, the meaning is not" in done.stderr
    data = json.loads((out / "one.json").read_text())
    assert data["images"][0]["file_name"] == "one.png"
    names = {row["id"]: row["name"] for row in data["categories"]}
    (annotation,) = data["annotations"]
    ids = read_ids(out / annotation["file_name"])
    found = {row["id"]: names[row["category_id"]] for row in annotation["segments_info"]}
    assert [found[ids[45, x]] for x in (10, 60, 110)] == ["red", "green", "blue"]


def test_one_bad_image_is_reported_the_others_are_written_and_the_status_is_1(
    bundle: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = odise("run", photos, "--engines", bundle, "--vocab", WORDS, "--output", out)
    assert done.status == 1
    assert {path.name for path in out.glob("*.json")} == {"one.json", "two.json"}
    assert f"ImageError: {photos / 'bad.jpg'} is not an image" in done.stderr
    assert "1 of 3 images were not segmented" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("task", ["semantic", "instance"])
def test_the_other_tasks_are_written_too(task: str, bundle: Path, photos: Path, tmp_path: Path) -> None:
    image = photos / "one.png"
    done = odise(
        "run", image, "--engines", bundle, "--vocab", WORDS, "--task", task, "--output", tmp_path / task
    )
    assert done.status == 0, done.stderr
    assert json.loads((tmp_path / task / "one.json").read_text())["info"]["task"] == task


def test_things_and_stuff_are_what_the_options_say(bundle: Path, photos: Path, tmp_path: Path) -> None:
    options = ("--vocab", WORDS, "--stuff", "red, blue", "--things", "green", "--output", tmp_path)
    assert odise("run", photos / "one.png", "--engines", bundle, *options).status == 0
    data = json.loads((tmp_path / "one.json").read_text())
    assert [row["isthing"] for row in data["categories"]] == [0, 1, 0]


def test_quiet_prints_nothing_but_errors(bundle: Path, photos: Path, tmp_path: Path) -> None:
    images = (photos / "one.png", photos / "bad.jpg")
    done = odise("run", *images, "-q", "--engines", bundle, "--vocab", WORDS, "--output", tmp_path / "out")
    assert done.status == 1
    assert done.stdout == ""
    assert "bad.jpg is not an image" in done.stderr
    assert "random weights" not in done.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--vocab", "; ;"), "VocabularyError"),
        (("--vocab", "red", "--things", "purse"), "no category of the vocabulary is called 'purse'"),
        (("--engines", "nowhere"), "BundleError: nowhere is not a bundle"),
        (("--output", "/dev/null/out"), "OutputError: /dev/null/out"),
        (("--device", "cuda"), "BackendError"),
    ],
)
def test_what_is_wrong_is_one_message_and_status_1(
    options: tuple[str, ...], says: str, bundle: Path, photos: Path, tmp_path: Path
) -> None:
    usual = {"--engines": str(bundle), "--vocab": WORDS, "--output": str(tmp_path / "out")}
    chosen = {**usual, **dict(zip(options[::2], options[1::2], strict=True))}
    done = odise("run", photos / "one.png", *(part for pair in chosen.items() for part in pair))
    assert done.status == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_output_that_cannot_be_written_is_found_before_the_bundle_is_opened(photos: Path) -> None:
    image = photos / "one.png"
    done = odise("run", image, "--engines", "nowhere", "--vocab", "red", "--output", "/dev/null/out")
    assert "OutputError" in done.stderr
    assert "BundleError" not in done.stderr


def test_wrong_usage_is_status_2(bundle: Path, photos: Path) -> None:
    assert odise("run", photos / "one.png", "--engines", bundle).status == 2
    assert odise("run", photos / "one.png", "--engines", bundle, "--vocab", "red", "--task", "x").status == 2


def test_inspect_shows_stages_and_finds_a_changed_byte(bundle: Path, tmp_path: Path) -> None:
    shown = odise("inspect", bundle)
    assert shown.status == 0, shown.stderr
    for text in (
        "captioner",
        "clip_image float32 (1, 3, 28, 28)",
        "onnxruntime",
        "mask_head.onnx",
        "random weights",
    ):
        assert text in shown.stdout
    assert json.loads(odise("inspect", bundle, "--json").stdout)["preset"] == "toy"

    changed = toy_bundle.make(tmp_path / "changed")
    content = bytearray((changed / "features.onnx").read_bytes())
    content[100] ^= 1
    (changed / "features.onnx").write_bytes(content)
    found = odise("inspect", changed)
    assert found.status == 1
    assert "features.onnx was changed after it was built" in found.stderr


def test_vocab_lists_presets_and_categories() -> None:
    presets = odise("vocab").stdout
    assert all(name in presets for name in ("coco", "ade150", "lvis", "cityscapes"))
    shown = odise("vocab", "purse, handbag; sky").stdout
    assert "purse, handbag" in shown
    assert "2 categories: 1 things, 1 stuff" in shown
    rows = json.loads(odise("vocab", "purse, handbag; sky", "--json", "--things", "sky").stdout)
    assert rows == [
        {"id": 1, "names": ["purse", "handbag"], "isthing": True},
        {"id": 2, "names": ["sky"], "isthing": True},
    ]


def test_the_json_of_vocab_is_a_vocabulary_even_where_categories_share_a_name(tmp_path: Path) -> None:
    path = tmp_path / "words.json"
    path.write_text(odise("vocab", "ade847", "--json").stdout, encoding="utf-8")
    assert Vocabulary.parse(path) == Vocabulary.preset("ade847")


def test_cache_lists_tables_and_clears_them(photos: Path, tmp_path: Path) -> None:
    bundle = toy_bundle.make(tmp_path / "engines" / "toy")
    odise("run", photos / "one.png", "--engines", bundle, "--vocab", WORDS, "--output", tmp_path / "out")
    for place in (bundle, bundle.parent, bundle.parent / "vocabularies"):
        assert "red, green, blue" in odise("cache", place).stdout
    assert "removed 1 files" in odise("cache", bundle, "--clear").stdout
    assert "0 tables" in odise("cache", bundle).stdout


def test_doctor_prints_backends_and_what_missing_ones_need() -> None:
    done = process("doctor")
    assert done.status == 0, done.stderr
    assert all(name in done.stdout for name in ("onnxruntime", "tensorrt", "tensorrt_rtx", "pip install"))
    assert {row["group"] for row in json.loads(odise("doctor", "--json").stdout)} >= {"system", "backends"}


def join(folder: Path, verb: str, target: str) -> Path:
    """An installed package, `joined`, that brings a verb."""
    (folder / "joined.py").write_text(
        'import typer\ndef hello(name: str = "you"):\n    "Say hello."\n    typer.echo("hello " + name)\n'
        "app = typer.Typer()\napp.command()(hello)\n"
    )
    info = folder / "joined-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: joined\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[odise_trt.commands]\n{verb} = {target}\n")
    return folder


@pytest.mark.parametrize("target", ["joined:hello", "joined:app"])
def test_a_package_brings_a_verb_as_a_function_or_as_an_app(target: str, tmp_path: Path) -> None:
    path = join(tmp_path, "greet", target)
    assert process("greet", "--name", "Ada", path=path).stdout == "hello Ada\n"
    assert "Say hello" in process("--help", path=path).stdout


def test_a_broken_package_is_reported_and_breaks_no_other_verb(tmp_path: Path) -> None:
    path = join(tmp_path, "greet", "missing_module:hello")
    helped = process("--help", path=path)
    assert helped.status == 0
    assert "cannot be loaded" in helped.stdout
    assert process("vocab", "purse; table", path=path).status == 0
    done = process("greet", "--name", "Ada", path=path)
    assert done.status == 1
    assert "the verb greet of joined cannot be loaded" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_package_cannot_replace_a_verb_of_the_runtime(tmp_path: Path) -> None:
    done = process("vocab", "purse; table", path=join(tmp_path, "vocab", "joined:hello"))
    assert "2 categories" in done.stdout


def test_help_imports_little() -> None:
    probe = (
        "import sys\nbefore = set(sys.modules)\nsys.argv = ['odise-trt', '--help']\n"
        "from odise_trt.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('numpy', 'PIL', 'onnxruntime', 'tokenizers', 'torch') if m in sys.modules])\n"
        "print(len(set(sys.modules) - before))"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", probe], cwd=root, capture_output=True, text=True, check=True)
    *_, heavy, count = done.stdout.splitlines()
    assert heavy == "[]"
    # Every module takes time: 360 take a third of a second.
    assert int(count) < 400, count


RUNTIME_VERBS = ("run", "vocab", "inspect", "doctor", "cache")
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


def test_help_has_a_panel_for_the_runtime_and_one_for_the_toolkit(tmp_path: Path) -> None:
    shown = process("--help", path=join(tmp_path, "greet", "joined:app")).stdout
    panels: dict[str, list[str]] = {}
    for line in shown.splitlines():
        if heading := re.match("╭─ (.*?) ─", line):
            panels[heading[1]] = []
        elif verb := re.match("│ ([a-z-]+) ", line):
            list(panels.values())[-1].append(verb[1])
    assert panels["Runtime"] == list(RUNTIME_VERBS)
    assert panels["Toolkit (checkout)"] == list(TOOLKIT_VERBS)
    assert panels["Other packages"] == ["greet"]


def test_the_version_is_printed() -> None:
    assert process("--version").stdout == f"odise-trt {odise_trt.__version__}\n"


def commands_of(command: Any) -> list[Any]:
    """A verb, and the verbs within."""
    return [command, *getattr(command, "commands", {}).values()]


@pytest.mark.parametrize("verb", [*RUNTIME_VERBS, *TOOLKIT_VERBS])
def test_the_page_about_the_command_line_has_every_option_and_no_other(verb: str, root: Path) -> None:
    page = (root / "docs" / "cli.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {verb}$(.*?)^## ", page, re.MULTILINE | re.DOTALL)
    assert section is not None
    odise_command: Any = get_command(app)
    command = odise_command.get_command(None, verb)
    words = {
        word
        for one in commands_of(command)
        for option in one.params
        for word in (*option.opts, *option.secondary_opts)
        if word.startswith("--")
    }
    for word in words:
        assert word in re.findall("--[a-z0-9-]+", section[1]), word
    rows = "\n".join(re.findall(r"^\| (`--.*?) \| ", section[1], re.MULTILINE))
    assert set(re.findall("--[a-z0-9-]+", rows)) <= words


def test_the_page_about_the_command_line_names_every_verb(root: Path) -> None:
    page = (root / "docs" / "cli.md").read_text(encoding="utf-8")
    verbs = re.findall(r"^\| \[`([a-z-]+)`\]\(#([a-z-]+)\) \|", page, re.MULTILINE)
    assert sorted(verbs) == sorted((verb, verb) for verb in (*RUNTIME_VERBS, *TOOLKIT_VERBS))

"""What `odise-trt run` takes, prints and answers, with many inputs and outputs."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from odise_trt import Segmenter
from odise_trt.chains.host import HostChain
from odise_trt.cli import app
from odise_trt.cli.places import folder as folder_option
from odise_trt.errors import OutputError
from tests.odise_trt import toy_bundle

WORDS = "red; green; blue"
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle.make(tmp_path_factory.mktemp("engines") / "toy")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `photos` with a.png and z.png, in the working folder."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, 20:, 0] = 255
    Image.fromarray(pixels).save("photos/a.png")
    shutil.copy("photos/a.png", "photos/z.png")
    return Path("photos")


@pytest.fixture
def run(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> Result:
        usual = ["--engines", str(bundle), "--vocab", WORDS, "--threads", "1"]
        return CliRunner().invoke(app, ["run", *usual, *map(str, arguments)])

    return call


def test_what_is_wrong_with_names_is_said_first_and_the_rest_is_done(photos: Path, run: Run) -> None:
    (photos / "IMG_1.HEIC").touch()
    (photos / "gone.jpg").symlink_to("nowhere")
    shutil.copy(photos / "a.png", photos / "a.jfif")
    done = run("https://example.org/a.jpg", "", "x" * 300, "nothing/*.png", photos, photos)
    assert done.exit_code == 1
    assert "photos: not taken: 1 HEIC (not read: convert to JPEG), 1 broken link\n" in done.stderr
    assert "ImageError: https://example.org/a.jpg is a URL, and URLs are not fetched" in done.stderr
    assert "ImageError: nothing/*.png matches no file" in done.stderr
    assert f"ImageError: {'x' * 300} cannot be read: File name too long" in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "4 of 7 images were not segmented: https://example.org/a.jpg, '', nothing/*.png, " + "x" * 300
    )
    assert done.stdout.count(".overlay.png") == 3
    assert len(list(Path("outputs").iterdir())) == 9


def test_quiet_says_nothing_of_what_is_not_taken(photos: Path, run: Run) -> None:
    (photos / "notes.txt").touch()
    done = run(photos, "--quiet")
    assert (done.exit_code, done.output) == (0, "")


def test_without_any_picture_no_engine_is_opened(
    photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Segmenter, "open", lambda *_, **__: pytest.fail("opened"))
    done = run("", "nothing/*.png")
    assert done.exit_code == 1
    assert "2 of 2 images were not segmented" in done.stderr


def test_files_of_others_stay_unless_overwrite_is_given(photos: Path, run: Run) -> None:
    annotation = photos / "a.json"
    annotation.write_text('{"shapes": []}')
    done = run(photos, "--output", photos)
    assert done.exit_code == 1
    assert "OutputError: photos/a.json is there already, and it is no result of odise-trt" in done.stderr
    assert "1 of 2 images were not segmented: photos/a.png" in done.stderr
    assert annotation.read_text() == '{"shapes": []}'
    assert (photos / "z.json").exists()
    assert run(photos, "--output", photos, "--overwrite").exit_code == 0
    assert "segmented by odise-trt" in annotation.read_text()


def test_pictures_that_were_not_tried_are_listed(
    photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        shutil.copy(photos / "a.png", photos / f"b{number}.png")
    ordinary = Path.write_bytes

    def write_bytes(self: Path, data: bytes) -> int:
        if data != b"0":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return ordinary(self, data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    done = run(photos)
    assert done.exit_code == 1
    assert done.stderr.count("No space left on device") == 3
    assert "make room, or choose another place" in done.stderr
    assert "3 of 6 images were not segmented: photos/a.png, photos/b0.png, photos/b1.png" in done.stderr
    assert "3 of 6 images were not tried: photos/b2.png, photos/b3.png, photos/z.png" in done.stderr


def test_a_fault_of_the_product_is_reported_with_its_picture_and_one_traceback(
    photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("surprise")

    kept = tmp_path / "kept"
    kept.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(kept))
    monkeypatch.setattr(HostChain, "begin", fail)
    done = run(photos)
    assert done.exit_code == 1
    assert "photos/a.png could not be segmented: ZeroDivisionError: surprise" in done.stderr
    assert "photos/z.png could not be segmented: ZeroDivisionError: surprise" in done.stderr
    (traceback,) = kept.iterdir()
    assert str(traceback) in done.stderr
    assert "in fail" in traceback.read_text()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--output", ""], "names no file or folder"),
        (["--engines", ""], "names no file or folder"),
        (["--output", "~nobodyhere/x"], "no home folder is known for ~nobodyhere/x"),
        (["--task", "semantic", "--overlap-threshold", "0.5"], "it is for --task panoptic"),
        (["--workers", "2"], "are for --ray"),
        (["--things", ""], "it is empty"),
        (["--stuff", " "], "it is empty"),
        (["--device", ""], "it is empty"),
    ],
)
def test_options_that_do_nothing_are_errors(options: list[str], says: str, photos: Path, run: Run) -> None:
    done = run(photos, *options)
    assert done.exit_code == 2
    assert says in done.stderr
    assert not Path("outputs").exists()


def test_the_home_folder_is_put_in_for_every_path(
    bundle: Path, photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(bundle.parent))
    assert folder_option("~/toy") == bundle
    assert folder_option("./~") == Path("~")
    monkeypatch.setenv("HOME", str(photos.absolute()))
    done = run("~/a.png", "--output", "~/out", "-q")
    assert (done.exit_code, done.output) == (0, "")
    assert (photos / "out" / "a.json").exists()


def test_brackets_in_the_name_of_a_bundle_are_no_markup(bundle: Path, photos: Path, run: Run) -> None:
    Path("eng [").mkdir()
    Path("eng [/b]").symlink_to(bundle.parent)
    done = run(photos, "--engines", "eng [/b]/toy")
    assert done.exit_code == 0, done.exception


def test_a_folder_with_a_tilde_for_a_name_can_be_used_again(photos: Path) -> None:
    Path("~nobodyhere").mkdir()
    assert folder_option("~nobodyhere") == Path("~nobodyhere")


def test_names_that_could_command_the_terminal_are_escaped(photos: Path, run: Run) -> None:
    shutil.copy(photos / "a.png", photos / "new\nline\x1b[31m.png")
    (photos / "half\udce9.jpg").write_text("no image")
    done = run(photos)
    assert done.exit_code == 1
    assert "\x1b" not in done.output
    assert r"photos/new\nline\x1b[31m.png (60 x 40)" in done.stdout
    assert r"images were not segmented: photos/half\udce9.jpg" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("encoding", ["ascii", None])
def test_a_report_that_cannot_be_printed_stops_no_work(
    encoding: str | None, bundle: Path, photos: Path, root: Path
) -> None:
    shutil.copy(photos / "a.png", photos / "Tüte.png")
    environment = {**os.environ, "PYTHONPATH": str(root)}
    options = [photos, "--engines", bundle, "--vocab", "Tüte; red", "--output", "out", "--threads", "1"]
    with open(os.devnull if encoding else "/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "odise_trt", "run", *map(str, options)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=environment | ({"PYTHONIOENCODING": encoding} if encoding else {}),
        )
    assert len(list(Path("out").iterdir())) == 9
    assert "Traceback" not in done.stderr
    if encoding is None:
        assert done.stderr.splitlines()[-1] == "standard output could not be written: No space left on device"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root alone can become another")
def test_a_folder_that_may_not_be_entered_stops_no_other_picture(
    bundle: Path, photos: Path, run: Run
) -> None:
    Path("closed/in").mkdir(parents=True)
    Path("out").mkdir()
    Path("out").chmod(0o777)
    Path("closed").chmod(0)
    run(photos, "--output", "warm")  # what is imported late may not be read by others
    for place in (Path.cwd(), *Path.cwd().parents, *bundle.parents):
        if "pytest-" in str(place):  # pytest's own are for root alone
            place.chmod(0o755)
    os.seteuid(65534)
    try:
        done = run("closed/a.jpg", "closed", "closed/*.png", photos, "--output", "out/o")
    finally:
        os.seteuid(0)
    assert done.exit_code == 1, done.exception
    assert done.stderr.count("Permission denied") == 3
    assert "3 of 5 images were not segmented: closed, closed, closed/a.jpg" in done.stderr
    assert len(list(Path("out/o").glob("*.json"))) == 2


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(143)])
def test_a_run_that_is_stopped_says_how_far_it_went(
    stop: BaseException, photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(photos / "a.png", photos / "m.png")
    (photos / "b.png").touch()
    ordinary, begun = HostChain.begin, []

    def begin(self: HostChain, *given: Any) -> Any:
        begun.append(given)
        if len(begun) == 2:
            raise stop
        return ordinary(self, *given)

    monkeypatch.setattr(HostChain, "begin", begin)
    done = run(photos)
    assert done.exit_code == (130 if isinstance(stop, KeyboardInterrupt) else 143)
    assert done.stderr.splitlines()[-2:] == [
        "1 of 4 images were not segmented: photos/b.png",
        "1 of 4 images were segmented, 2 were not tried",
    ]


def test_thousands_of_pictures_that_were_not_tried_are_one_short_line(
    photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        os.link(photos / "a.png", photos / f"b{number:02}.png")
    full = OSError(errno.ENOSPC, "No space left on device")

    def save(*_: object, **__: object) -> None:
        raise OutputError("it cannot be written") from full

    monkeypatch.setattr("odise_trt.result.Result.save", save)
    last = run(photos).stderr.splitlines()[-1]
    assert last.startswith("39 of 42 images were not tried: photos/b02.png, photos/b03.png")
    assert last.endswith(", ... to photos/z.png")
    assert last.count(",") == 20


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("-", "to read from a pipe, name /dev/stdin"),
        ("within", "for the folders within, give a glob: 'within/**/*.jpg'"),
        ("it's", """for the folders within, give a glob: 'it'"'"'s/**/*.jpg'"""),
    ],
)
def test_the_way_out_is_named(name: str, says: str, photos: Path, run: Run) -> None:
    for folder in ("within/more", "it's/more"):
        Path(folder).mkdir(parents=True)
    done = run(name)
    assert (done.exit_code, says in done.stderr) == (1, True)


def test_a_folder_of_blanks_is_no_folder(photos: Path, run: Run) -> None:
    assert run(photos, "--output", "  ").exit_code == 2
    assert {path.name for path in Path().iterdir()} == {"photos"}


def test_one_thing_is_not_many(photos: Path, run: Run) -> None:
    assert ": 1 segment, " in run(photos / "a.png").stdout

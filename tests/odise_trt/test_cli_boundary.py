"""Every command: it prints whatever the terminal, cleans up when signalled, and has one message per error."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from odise_trt.cli.boundary import message_of
from odise_trt.errors import ImageError, OdiseError, OutputError


def command(
    body: str, *arguments: str, under: tuple[str, ...] = (), stdout: int | None = None, **environment: str
) -> subprocess.Popen:
    """A command of the product whose function is `body`; `under`: the command that it is started by."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    text = f"from odise_trt.cli import boundary\nimport sys\ndef main():\n{lines}\nboundary.run(main)"
    return subprocess.Popen(
        [*under, sys.executable, "-c", text, *arguments],
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def outcome(process: subprocess.Popen) -> tuple[int, str, str]:
    out, errors = process.communicate(timeout=60)
    return process.returncode, out or "", errors


#: Everything that verbs print with, given a letter of another alphabet and half an emoji.
PRINTERS = """
import typer
from odise_trt.cli import console
print('Tüte \\ud83d')
typer.echo('Tüte \\ud83d')
console.output().print('Tüte \\ud83d')
console.plain(console.output(), 'Tüte \\ud83d')
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252"])
def test_a_letter_that_the_terminal_lacks_ends_nothing(encoding: str) -> None:
    with command(PRINTERS, PYTHONIOENCODING=encoding) as process:
        raw, errors = process.stdout.buffer.read(), process.stderr.read()
    assert process.returncode == 0, errors
    assert len(raw.splitlines()) == 4
    assert errors == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_behind_the_output_is_one_line_at_the_end(tmp_path: Path) -> None:
    done = tmp_path / "done"
    body = f"{PRINTERS}sys.stdout.flush()\n{PRINTERS}open(sys.argv[1], 'w').close()"
    with open("/dev/full", "w") as full:
        status, _, errors = outcome(command(body, str(done), stdout=full.fileno()))
    assert done.exists()
    assert status == 1
    assert errors == "standard output could not be written: No space left on device\n"


def test_a_reader_that_goes_away_stops_no_work(tmp_path: Path) -> None:
    done = tmp_path / "done"
    reader, writer = os.pipe()
    os.close(reader)
    body = "for n in range(99999): print(n)\nopen(sys.argv[1], 'w').close()"
    status, _, errors = outcome(command(body, str(done), stdout=writer))
    os.close(writer)
    assert (status, errors) == (0, "")
    assert done.exists()


def test_python_without_buffers_prints_as_well() -> None:
    assert outcome(command("print('ü')", PYTHONUNBUFFERED="1", PYTHONIOENCODING="ascii")) == (
        0,
        "\\xfc\n",
        "",
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_lead_nowhere_and_no_file_takes_their_place(closed: str, tmp_path: Path) -> None:
    written = tmp_path / "written"
    body = (
        "import sys, os\nsys.stdout.isatty()\n"
        "with open(sys.argv[1], 'w') as file:\n"
        "    os.write(1, b'of a library in C'); os.write(2, b'of another'); print('of ours')\n"
        "    file.write('data')"
    )
    assert outcome(command(body, str(written), under=("sh", "-c", f'exec "$@" {closed}', "sh")))[0] == 0
    assert written.read_text() == "data"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_leaves_no_temporary_folder(name: str, tmp_path: Path) -> None:
    body = (
        "import tempfile, time\nwith tempfile.TemporaryDirectory(dir=sys.argv[1]):\n"
        "    print('ready', flush=True)\n    time.sleep(60)"
    )
    process = command(body, str(tmp_path))
    assert process.stdout.readline() == "ready\n"
    number = getattr(signal, name)
    process.send_signal(number)
    status, _, errors = outcome(process)
    assert status == 128 + number
    assert errors == f"stopped by {name}\n"
    assert list(tmp_path.iterdir()) == []


ENDINGS = [("SIGTERM", 143, "SIGTERM"), ("SIGHUP", 129, "SIGHUP"), ("SIGINT", 130, "Ctrl-C")]


@pytest.mark.parametrize(("name", "status", "shown"), ENDINGS)
@pytest.mark.parametrize(
    "place",
    [
        # Python ignores what is raised in a callback of the interpreter.
        (
            "class One: pass\none = One()\nref = weakref.ref(one, lambda _: os.kill(os.getpid(), number))\n"
            "del one"
        ),
        # A module in C says "initialization failed" of whatever is raised while it is imported.
        (
            "try:\n    os.kill(os.getpid(), number)\n    time.sleep(60)\n"
            "except BaseException:\n    raise ImportError('initialization failed') from None"
        ),
    ],
    ids=["a callback", "an import"],
)
def test_a_signal_is_not_lost_in(place: str, name: str, status: int, shown: str) -> None:
    body = f"import os, signal, time, weakref\nnumber = signal.{name}\n{place}\ntime.sleep(60)"
    assert outcome(command(body)) == (status, "", f"stopped by {shown}\n")


def test_ctrl_c_before_anything_began_shows_no_traceback() -> None:
    text = (
        "import os, signal, sys\nfrom odise_trt.cli import main\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'odise_trt.cli.boundary': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_a_process_under_nohup_survives_the_end_of_its_terminal() -> None:
    body = "import time\nprint('ready', flush=True)\ntime.sleep(1)"
    process = command(body, under=("nohup",))
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    assert outcome(process)[0] == 0


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(28, "No space", "out/x.png"), "OSError: out/x.png: No space\n  make room"),
        (FileNotFoundError(2, "No such file", "a", None, "b"), "OSError: a and b: No such file"),
        (OSError("said by a library"), "OSError: said by a library"),
        (MemoryError(), "MemoryError: there is not enough memory\n  close"),
        (BrokenProcessPool(), "OdiseError: a worker process was killed\n  most often memory ran out"),
        (ImageError("a.jpg is damaged", "get it again"), "ImageError: a.jpg is damaged\n  get it again"),
    ],
)
def test_an_error_is_one_message_and_what_to_do(error: Exception, text: str) -> None:
    assert message_of(error).startswith(text)


def test_no_error_is_a_traceback() -> None:
    status, out, errors = outcome(command("{}['colour']"))
    assert (status, out) == (1, "")
    assert errors.startswith("KeyError: 'colour'\n  this is a fault of odise-trt, please report it")
    assert len(errors.splitlines()) == 2
    kept = Path(errors.split()[-1])
    assert "KeyError: 'colour'" in kept.read_text(encoding="utf-8")
    kept.unlink()


@pytest.mark.parametrize("typer", [True, False])
def test_ctrl_c_is_one_line_and_status_130(typer: bool) -> None:
    body = "raise KeyboardInterrupt"
    if typer:
        body = "import typer\ndef verb(): raise KeyboardInterrupt\ntyper.run(verb)"
    assert outcome(command(body)) == (130, "", "stopped by Ctrl-C\n")


@pytest.mark.parametrize("arguments", [["--debug"], ["a", "--debug", "b"], []])
def test_debug_shows_where_an_error_arose(arguments: list[str]) -> None:
    environment = {} if arguments else {"ODISE_DEBUG": "1"}
    body = "assert '--debug' not in sys.argv\nraise OSError(13, 'Permission denied', 'x')"
    _, _, errors = outcome(command(body, *arguments, **environment))
    assert errors.startswith("OSError: x: Permission denied\n  check the permissions\n")
    assert "Traceback" in errors


def test_debug_behind_two_dashes_is_a_name() -> None:
    assert outcome(command("print(sys.argv[1:])", "--", "--debug"))[1] == "['--', '--debug']\n"


def test_typed_errors_survive_a_process_boundary() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(OutputError("x cannot be written", "make room")))
    assert (type(error), error.message, error.hint) == (OutputError, "x cannot be written", "make room")
    assert str(error) == str(OdiseError("x cannot be written", "make room"))


def test_a_package_that_is_missing_is_named_with_its_extra() -> None:
    text = message_of(ModuleNotFoundError("No module named 'torch'", name="torch"))
    assert text == (
        "OdiseError: the package torch is not installed, which this command needs\n"
        '  install it, in the checkout: pip install -e ".[export]"'
    )
    assert '".[eval]"' in message_of(ModuleNotFoundError("", name="faster_coco_eval.core"))
    assert "pip install odise-trt" in message_of(ModuleNotFoundError("", name="ftfy"))


#: Runs in the environment of ModelOpt, which has nothing of ours. A build starts it, and nobody else.
OF_ANOTHER_ENVIRONMENT = Path("export/quantizing/driver.py")


def doors_of(root: Path) -> list[Path]:
    """The modules that are started as commands."""
    found = [
        path
        for package in ("odise_trt", "reference", "export", "benchmarks")
        for path in (root / package).rglob("*.py")
        if path.name == "__main__.py" or '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    ]
    found.remove(root / OF_ANOTHER_ENVIRONMENT)
    return found


def test_no_door_of_the_checkout_needs_an_extra_before_it_can_say_so(root: Path) -> None:
    modules = [".".join(door.relative_to(root).with_suffix("").parts) for door in doors_of(root)]
    text = (
        "import importlib, sys\n"
        "extras = 'torch safetensors diffusers transformers scipy onnx pycocotools tensorboard'.split()\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.partition('.')[0] in extras: raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "for module in sys.argv[1:]: importlib.import_module(module)"
    )
    done = subprocess.run(
        [sys.executable, "-c", text, *modules], cwd=root, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr


def test_every_door_of_the_checkout_begins_and_ends_there(root: Path) -> None:
    doors = doors_of(root)
    assert len(doors) >= 10
    for door in doors:
        statements = ast.parse(door.read_text(encoding="utf-8")).body
        # Until the boundary begins, an import that takes time would answer Ctrl-C with a traceback.
        imported = [ast.unparse(one) for one in statements if isinstance(one, ast.Import | ast.ImportFrom)]
        assert {*imported} - {"import sys", "from pathlib import Path"} <= {
            "from odise_trt.cli import door",
            "from .cli import main",
        }, door
        last = ast.unparse(statements[-1])
        assert re.fullmatch(r"if __name__ == '__main__':\n    (door\(.*\)|main\(\))", last), door

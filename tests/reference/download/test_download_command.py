"""`odise-trt download`, as a person meets it."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from reference.download.artefacts import ARTEFACTS, CC_BY_NC_SA, OF_PRESET
from reference.download.console import ConsoleReporter
from tests.door import Done, call, verb
from tests.reference.download.conftest import CONTENT, artefact_at
from tests.reference.download.server import Host

DOWNLOAD = verb("reference.download.cli:download")


class Terminal(io.StringIO):
    """A keyboard."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def toys(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two published files with two licences, and a preset of both."""
    toy = artefact_at(f"{host.url}/toy.bin")
    monkeypatch.setitem(ARTEFACTS, "toy", toy)
    other = replace(toy, name="other", file="other.bin", url=f"{host.url}/other.bin", licence=CC_BY_NC_SA)
    monkeypatch.setitem(ARTEFACTS, "other", other)
    monkeypatch.setitem(OF_PRESET, "toys", ("toy", "other"))


def typing(text: str, monkeypatch: pytest.MonkeyPatch, *words: object) -> Done:
    """Call the command with a person at the keyboard."""
    monkeypatch.setattr(sys, "stdin", Terminal(text))
    return call(DOWNLOAD, *words)


def test_the_files_of_a_preset_are_fetched_and_their_paths_printed(host: Host, tmp_path: Path) -> None:
    done = call(DOWNLOAD, "toys", "--accept-licenses", "--output", tmp_path / "w")
    assert done.status == 0
    assert done.stdout == f"toy: {tmp_path}/w/toy.bin\nother: {tmp_path}/w/other.bin\n"
    assert (tmp_path / "w" / "other.bin").read_bytes() == CONTENT
    record = json.loads((tmp_path / "w" / "other.bin.licence.json").read_text())
    assert record["accepted"]["how"] == "--accept-licenses"


def test_what_is_accepted_is_shown_also_to_scripts(host: Host, tmp_path: Path) -> None:
    done = call(DOWNLOAD, "toys", "--accept-licenses", "--output", tmp_path / "w")
    for word in (f"{host.url}/other.bin", "300.0 kB", "CC BY-NC-SA 4.0", "no commercial use", "MIT"):
        assert word in done.stderr


def test_a_script_without_the_flag_is_refused(host: Host, tmp_path: Path) -> None:
    done = call(DOWNLOAD, "toys", "--output", tmp_path / "w")
    assert done.status == 1
    assert "DownloadError: MIT, CC BY-NC-SA 4.0: nobody accepted" in done.stderr
    assert "give --accept-licenses" in done.stderr
    assert host.requests == []


def test_a_person_accepts_each_licence(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = typing("yes\nyes\n", monkeypatch, "toys", "--output", tmp_path / "w")
    assert done.status == 0
    record = json.loads((tmp_path / "w" / "toy.bin.licence.json").read_text())
    assert record["accepted"]["how"] == "typed on a terminal"


@pytest.mark.parametrize("text", ["yes\nno\n", "yes\n", "", "\n"])
def test_a_person_who_does_not_accept_all_gets_nothing(
    text: str, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = typing(text, monkeypatch, "toys", "--output", tmp_path / "w")
    assert done.status == 1
    assert "was not accepted, and nothing was fetched" in done.stderr
    assert host.requests == []


def test_without_output_files_go_to_the_cache(machine: Path) -> None:
    assert call(DOWNLOAD, "toy", "--accept-licenses").status == 0
    assert (machine / ".cache" / "odise-trt" / "weights" / "toy.bin").read_bytes() == CONTENT


def test_without_a_name_the_files_are_listed(host: Host) -> None:
    done = call(DOWNLOAD)
    assert done.status == 0
    for artefact in ARTEFACTS.values():
        for word in (artefact.name, artefact.file, artefact.url, artefact.sha256, artefact.licence.url):
            assert word in done.stdout
    assert host.requests == []


@pytest.mark.parametrize(
    "words", [[""], ["toy", " "], ["toy", "--output", ""], ["toy", "--output", "s3://x"]]
)
def test_words_that_mean_nothing_are_not_understood(words: list[str], host: Host) -> None:
    assert call(DOWNLOAD, *words).status == 2
    assert host.requests == []


def test_an_error_is_one_message_with_status_1(host: Host, tmp_path: Path) -> None:
    host.content = b"<html>"
    done = call(DOWNLOAD, "toy", "--accept-licenses", "--output", tmp_path)
    assert done.status == 1
    assert "DownloadError: 127.0.0.1 sent a web page, not the file, for toy.bin" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_terminal_progress_is_a_line_now_and_then() -> None:
    text = io.StringIO()
    clock = iter([0.0, 10.0, 20.0, 21.0, 40.0])
    reporter = ConsoleReporter(Console(file=text, width=200), clock=lambda: next(clock))
    with reporter.counting("fetching toy", 4_000_000, 1_000_000) as count:
        for _ in range(4):
            count(500_000)
    assert text.getvalue().splitlines() == [
        "fetching toy: 2.0 MB of 4.0 MB, 50.0 kB/s, 1 min left",
        "fetching toy: 3.0 MB of 4.0 MB, 50.0 kB/s, 0 min left",
    ]


def test_without_a_known_size_progress_has_no_end() -> None:
    text = io.StringIO()
    clock = iter([0.0, 20.0])
    reporter = ConsoleReporter(Console(file=text, width=200), clock=lambda: next(clock))
    with reporter.counting("fetching toy", None) as count:
        count(500_000)
    assert text.getvalue() == "fetching toy: 500.0 kB, 25.0 kB/s\n"


def test_a_terminal_shows_bytes_and_their_rate() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=120, color_system=None)
    with ConsoleReporter(console).counting("fetching toy [1]", 4_000_000, 1_000_000) as count:
        count(1_000_000)
    assert "fetching toy [1]" in text.getvalue()
    assert "2.0/4.0 MB" in text.getvalue()

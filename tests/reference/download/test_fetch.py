"""Consent comes first, room is checked, one process fetches a file at a time, and a record stays."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from collections import namedtuple
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import filelock
import pytest

from odise_trt.errors import OutputError
from reference.download import accepted, fetch
from reference.download.artefacts import ARTEFACTS, CC_BY_NC_SA, MIT, OF_PRESET, Artefact, artefacts_of
from reference.download.consent import ask
from reference.errors import DownloadError
from reference.preset import PRESETS
from tests.reference.download.conftest import CONTENT, Download, artefact_at
from tests.reference.download.server import Host, Reply, Request


def test_consent_is_asked_before_anything_is_sent_or_written(download: Download, host: Host) -> None:
    def refuse(artefacts: object) -> str:
        assert not download.folder.exists()
        raise DownloadError("no")

    with pytest.raises(DownloadError, match="no"):
        fetch([download.artefact], download.folder, refuse)
    assert host.requests == []
    assert not download.folder.exists()


def test_consent_is_asked_once_about_what_is_missing(host: Host, tmp_path: Path) -> None:
    toys = [replace(artefact_at(f"{host.url}/{n}"), name=n, file=f"{n}.bin") for n in ("a", "b", "c")]
    (tmp_path / "b.bin").write_bytes(CONTENT)
    asked: list[list[str]] = []

    def consent(artefacts: list[Artefact]) -> str:
        asked.append([artefact.name for artefact in artefacts])
        return "in a test"

    files = fetch(toys, tmp_path, consent)
    assert files == {name: tmp_path / f"{name}.bin" for name in "abc"}
    assert asked == [["a", "c"]]
    assert not (tmp_path / "b.bin.licence.json").exists()


def test_a_file_that_is_here_needs_no_consent(download: Download, host: Host) -> None:
    assert download.run() == download.run() == CONTENT
    assert len(download.asked) == len(host.requests) == 1
    assert download.notes.lines[-1] == f"toy is here: {download.place}"


def test_what_was_accepted_is_recorded_beside_the_file(download: Download) -> None:
    download.run()
    record = json.loads((download.folder / "toy.bin.licence.json").read_text())
    when = datetime.fromisoformat(record["accepted"].pop("when"))
    assert abs((datetime.now(when.tzinfo) - when).total_seconds()) < 3600
    assert record == {
        "artefact": "toy",
        "file": "toy.bin",
        "url": download.artefact.url,
        "sha256": download.artefact.sha256,
        "licence": {"name": MIT.name, "url": MIT.url, "restriction": MIT.restriction},
        "accepted": {"how": "in a test"},
    }


def test_each_licence_is_asked_for_once(host: Host) -> None:
    toy = artefact_at(host.url)
    questions: list[str] = []

    def question(text: str) -> str:
        questions.append(text)
        return " Yes\n"

    assert ask([toy, replace(toy, licence=CC_BY_NC_SA), toy], question) == "typed on a terminal"
    assert [text.splitlines()[0] for text in questions] == [
        f"{MIT.name}, {MIT.url}",
        f"{CC_BY_NC_SA.name}, {CC_BY_NC_SA.url}",
    ]


@pytest.mark.parametrize("answer", ["", "no", "y", "accept", "yes please"])
def test_only_yes_is_yes(answer: str, host: Host) -> None:
    with pytest.raises(DownloadError, match="the licence MIT was not accepted, and nothing was fetched"):
        ask([artefact_at(host.url)], lambda text: answer)


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_a_machine_that_is_offline_is_told_where_to_put_the_files(
    variable: str, download: Download, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "true")
    with pytest.raises(DownloadError, match=f"{variable}=true forbids to fetch toy") as caught:
        download.run()
    assert f"and save it as {download.place}" in str(caught.value)
    assert host.requests == download.asked == []
    download.folder.mkdir()
    download.place.write_bytes(CONTENT)
    assert download.run() == CONTENT
    monkeypatch.setenv(variable, "0")
    download.place.unlink()
    assert download.run() == CONTENT
    assert len(host.requests) == 1


def free_space(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 0, free))


def test_room_is_checked_before_anything_is_sent(
    download: Download, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    free_space(monkeypatch, 300_003)
    with pytest.raises(OutputError, match=r"has 300\.0 kB of free space, 300\.0 kB are to come"):
        download.run()
    assert host.requests == []
    free_space(monkeypatch, 300_004)
    assert download.run() == CONTENT


def test_what_a_part_has_needs_no_room(
    download: Download, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.then(host.breaking(200_000), Reply(404))
    with pytest.raises(DownloadError, match="404"):
        download.run()
    free_space(monkeypatch, 300_004 - 196_608)
    assert download.run() == CONTENT


def test_room_is_checked_again_when_the_host_says_the_size(
    download: Download, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    download.changed(bytes=None, about=10)
    free_space(monkeypatch, 1000)
    with pytest.raises(OutputError, match=r"has 1\.0 kB of free space, 300\.0 kB are to come"):
        download.run()
    assert len(host.requests) == 1


def test_a_second_process_waits_and_then_finds_the_file(download: Download, host: Host) -> None:
    first_is_asking, go_on = threading.Event(), threading.Event()
    second = Download(download.artefact, download.folder)

    def slow(request: Request) -> Reply:
        first_is_asking.set()
        assert go_on.wait(30)
        return host.serve(request)

    def waits(text: str) -> None:
        second.notes.lines.append(text)
        if text.startswith("waiting"):
            go_on.set()

    host.then(slow)
    second.notes.note = waits
    contents: list[bytes] = []
    threads = [
        threading.Thread(target=lambda one=one: contents.append(one.run())) for one in (download, second)
    ]
    threads[0].start()
    assert first_is_asking.wait(30)
    threads[1].start()
    for thread in threads:
        thread.join(30)
    assert contents == [CONTENT, CONTENT]
    assert second.notes.lines[0].startswith(f"waiting for another download of {download.place} (process ")
    assert len(host.requests) == 1
    assert not (download.folder / ".toy.bin.lock").exists()


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError()])
def test_a_file_system_without_locks_is_said(
    error: Exception, download: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No such file system is at hand.
    def acquire(self: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with pytest.raises(OutputError, match="cannot be locked against other downloads: "):
        download.run()


@pytest.mark.parametrize("place", ["file", "file/weights", "/proc/weights"])
def test_a_folder_that_cannot_be_made_is_an_error(place: str, download: Download, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    download.folder = tmp_path / place
    with pytest.raises(OutputError, match="cannot be written"):
        download.run()


def test_nothing_of_a_download_imports_torch(root: Path) -> None:
    modules = [path.stem for path in sorted((root / "reference" / "download").glob("[!_]*.py"))]
    assert "fetching" in modules
    probe = (
        f"import sys\nfor name in {modules}:\n    __import__('reference.download.' + name)\n"
        "print([m for m in ('torch', 'safetensors', 'huggingface_hub', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_name_that_is_not_known_is_an_error() -> None:
    with pytest.raises(DownloadError, match="there is no published file 'sd-v13'") as caught:
        artefacts_of(["sd-v13"])
    assert "did you mean sd-v1-3?" in str(caught.value)


@pytest.mark.parametrize("preset", ["odise-label", "odise-caption"])
def test_a_preset_stands_for_its_three_files(preset: str) -> None:
    assert preset in PRESETS
    files = artefacts_of([preset, "sd-v1-3"])
    assert [artefact.name for artefact in files] == list(OF_PRESET[preset])
    assert files[0].name == f"{preset}-release"


def test_presets_and_files_may_be_mixed(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toys = [replace(artefact_at(f"{host.url}/{n}"), name=n, file=n) for n in ("a", "b", "c")]
    for toy in toys:
        monkeypatch.setitem(ARTEFACTS, toy.name, toy)
    monkeypatch.setitem(OF_PRESET, "toys", ("a", "b", "c"))
    files = fetch([toys[1], "toys"], tmp_path / "w", accepted("in a test"))
    assert list(files) == ["b", "a", "c"]
    assert sorted(os.listdir(tmp_path / "w"))[::2] == ["a", "b", "c"]

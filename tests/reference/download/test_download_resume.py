"""A download that was stopped goes on where it was, if the host still has the same file."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from reference.errors import DownloadError
from tests.reference.download.conftest import CONTENT, Download
from tests.reference.download.server import Host, Reply

SIZE = len(CONTENT)


def remembered(download: Download) -> dict[str, object]:
    return json.loads(download.part.with_name("toy.bin.part.json").read_text())


def begin(download: Download, host: Host, count: int = 150_000) -> int:
    """Make a run that is stopped in the middle. Returns the bytes that it has left."""
    came = 0

    def ctrl_c(chunk: int) -> None:
        nonlocal came
        came += chunk
        if came >= count:
            raise KeyboardInterrupt

    download.notes.on_bytes = ctrl_c
    with pytest.raises(KeyboardInterrupt):
        download.run()
    download.notes.on_bytes = lambda chunk: None
    host.requests.clear()
    left = download.part.stat().st_size
    assert count <= left < SIZE
    return left


def test_a_stopped_run_keeps_its_part_and_the_next_goes_on(download: Download, host: Host) -> None:
    left = begin(download, host)
    assert remembered(download) == {"url": download.artefact.url, "validator": '"one"', "total": SIZE}
    assert download.run() == CONTENT
    assert host.ranges == [f"bytes={left}-"]
    assert "toy: fetching it from 127.0.0.1, after the 196.6 kB that are here" in download.notes.lines


def test_a_host_that_ignores_ranges_gives_the_whole_file(download: Download, host: Host) -> None:
    begin(download, host)
    host.then(host.whole)
    assert download.run() == CONTENT
    assert "127.0.0.1 does not go on with toy.bin: it is fetched from the beginning" in download.notes.lines


def test_a_file_that_changed_between_two_runs_is_fetched_from_the_beginning(
    download: Download, host: Host
) -> None:
    host.content = b"PK" + bytes(SIZE - 2)
    begin(download, host)
    host.content, host.etag = CONTENT, '"two"'
    assert download.run() == CONTENT
    assert len(host.requests) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": f"bytes 0-{SIZE - 1}/{SIZE}"},
        {"Content-Range": "bytes 196608-300003/999999"},
        {"Content-Range": "nonsense"},
        {},
        {"Content-Range": f"bytes 196608-{SIZE - 1}/{SIZE}", "ETag": '"two"'},
    ],
)
def test_a_part_of_something_else_is_not_taken(
    headers: dict[str, str], download: Download, host: Host
) -> None:
    assert begin(download, host) == 196_608
    host.then(Reply(206, bytes(1000), headers))
    assert download.run() == CONTENT
    assert host.ranges == ["bytes=196608-", None]


def test_a_range_that_the_host_refuses_means_the_beginning(download: Download, host: Host) -> None:
    begin(download, host)
    host.then(Reply(416, headers={"Content-Range": "bytes */100"}))
    assert download.run() == CONTENT
    assert host.ranges == ["bytes=196608-", None]


def test_a_range_at_the_end_of_the_file_means_that_all_is_here(download: Download, host: Host) -> None:
    begin(download, host)
    memory = {"url": download.artefact.url, "validator": host.etag, "total": None}
    download.part.write_bytes(CONTENT)
    download.part.with_name("toy.bin.part.json").write_text(json.dumps(memory))
    assert download.run() == CONTENT
    assert host.ranges == [f"bytes={SIZE}-"]


def test_a_whole_part_needs_no_host(download: Download, host: Host) -> None:
    begin(download, host)
    download.part.write_bytes(CONTENT)
    assert download.run() == CONTENT
    assert host.requests == []


def test_a_part_of_another_address_is_not_continued(download: Download, host: Host) -> None:
    begin(download, host)
    download.changed(url=f"{host.url}/moved/toy.bin")
    assert download.run() == CONTENT
    assert host.ranges == [None]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": 7, "validator": "", "total": null}'])
def test_a_damaged_memory_means_the_beginning(text: str, download: Download, host: Host) -> None:
    begin(download, host)
    download.part.with_name("toy.bin.part.json").write_text(text)
    assert download.run() == CONTENT
    assert host.ranges == [None]


def test_a_damaged_part_is_found_by_the_hash_and_removed(download: Download, host: Host) -> None:
    begin(download, host)
    with download.part.open("r+b") as file:
        file.write(b"damage")
    with pytest.raises(DownloadError, match=r"the published file the sha256 .*; it was removed"):
        download.run()
    assert list(download.folder.iterdir()) == []
    assert download.run() == CONTENT


def test_without_an_etag_the_date_tells_whether_the_file_is_the_same(download: Download, host: Host) -> None:
    date = "Wed, 21 Oct 2020 07:28:00 GMT"
    host.etag = None
    host.then(lambda request: replace(host.whole(request), cut=200_000, headers={"Last-Modified": date}))
    assert download.run() == CONTENT
    assert host.requests[1].headers["if-range"] == date


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_etag_a_file_is_fetched_from_the_beginning(
    etag: str | None, download: Download, host: Host
) -> None:
    host.etag = etag
    host.then(host.breaking(200_000))
    assert download.run() == CONTENT
    assert host.ranges == [None, None]


def test_a_part_that_no_host_can_go_on_with_is_not_read(download: Download, host: Host) -> None:
    host.etag = None
    begin(download, host)
    assert download.run() == CONTENT
    assert host.ranges == [None]
    assert "toy: fetching it from 127.0.0.1" in download.notes.lines[-2:]


def test_a_part_that_is_too_long_means_the_beginning(download: Download, host: Host) -> None:
    begin(download, host)
    download.part.write_bytes(CONTENT + b"more")
    assert download.run() == CONTENT
    assert host.ranges == [f"bytes={SIZE + 4}-", None]

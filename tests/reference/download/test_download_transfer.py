"""A download ends with the file, whatever the connection and the host do; or it says what they did."""

from __future__ import annotations

import errno
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odise_trt.errors import OutputError
from reference.errors import DownloadError
from tests.full_disk import files_of_at_most
from tests.reference.download.conftest import CONTENT, Download
from tests.reference.download.server import Host, Reply, Request

SIZE = len(CONTENT)


def test_a_file_is_fetched_and_nothing_else_is_left(download: Download, host: Host) -> None:
    assert download.run() == CONTENT
    assert sorted(path.name for path in download.folder.iterdir()) == ["toy.bin", "toy.bin.licence.json"]
    assert host.requests[0].headers["accept-encoding"] == "identity"


def test_a_connection_that_breaks_is_continued(download: Download, host: Host) -> None:
    host.then(host.breaking(200_000))
    assert download.run() == CONTENT
    (_, again) = host.requests
    first = int(again.headers["range"].removeprefix("bytes=").removesuffix("-"))
    assert 100_000 < first <= 200_000
    assert again.headers["if-range"] == '"one"'
    assert download.slept == [1]
    assert "the connection to 127.0.0.1 broke: next try in 1 s" in download.notes.lines


def test_a_host_that_promises_too_many_bytes_gives_the_file_all_the_same(
    download: Download, host: Host
) -> None:
    download.changed(bytes=None)
    host.then(lambda request: replace(host.whole(request), length=SIZE + 10))
    assert download.run() == CONTENT
    assert "the connection to 127.0.0.1 broke: next try in 1 s" in download.notes.lines


def test_a_host_that_never_gets_further_is_left_after_some_tries(download: Download, host: Host) -> None:
    host.then(*[lambda request: replace(host.whole(request), cut=200_000)] * 9)
    with pytest.raises(DownloadError, match=r"the connection to 127\.0\.0\.1 broke") as caught:
        download.run()
    assert download.slept == [1, 2, 4]
    assert len(host.requests) == 4
    assert "what was fetched is kept: the same command goes on from there" in str(caught.value)
    assert download.part.stat().st_size == 196_608


def test_progress_renews_the_patience(download: Download, host: Host) -> None:
    host.then(*[host.breaking(70_000)] * 4)
    assert download.run() == CONTENT
    assert download.slept == [1, 1, 1, 1]


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 429])
def test_a_fault_of_the_host_that_passes_is_waited_for(status: int, download: Download, host: Host) -> None:
    host.then(Reply(status), Reply(status))
    assert download.run() == CONTENT
    assert download.slept == [1, 2]


def test_a_host_says_how_long_to_wait(download: Download, host: Host) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=100), usegmt=True)
    waits = ["7", later, past, "nonsense"]
    host.then(*[Reply(429, headers={"Retry-After": wait}) for wait in waits[:3]])
    assert download.run() == CONTENT
    assert download.slept[0] == 7
    assert 90 < download.slept[1] <= 100
    assert download.slept[2] == 0


def test_nobody_waits_an_hour(download: Download, host: Host) -> None:
    host.then(Reply(429, headers={"Retry-After": "3600"}))
    with pytest.raises(DownloadError, match=r"asks for fewer requests \(429\), and to come back in 3600 s"):
        download.run()
    assert download.slept == []


def test_a_host_that_sends_nothing_more_is_left_and_asked_again(download: Download, host: Host) -> None:
    download.read = 0.3
    host.then(lambda request: replace(host.serve(request), cut=200_000, stalls=True))
    assert download.run() == CONTENT
    assert "127.0.0.1 sent nothing for 0.3 s: next try in 1 s" in download.notes.lines
    assert any(host.ranges)


def test_a_file_that_is_cut_off_is_refused(download: Download, host: Host) -> None:
    host.content = CONTENT[:1000]
    with pytest.raises(DownloadError, match=r"is too short: 1000 bytes, the published file has 300004"):
        download.run()
    assert not download.place.exists()


def test_a_file_that_is_longer_is_refused(download: Download, host: Host) -> None:
    host.content = CONTENT + b"more"
    with pytest.raises(DownloadError, match=r"is too long: 300008 bytes, the published file has 300004"):
        download.run()


def test_a_file_without_a_stated_length_may_not_go_on_for_ever(download: Download, host: Host) -> None:
    host.then(Reply(body=CONTENT * 2, length=-1))
    with pytest.raises(DownloadError, match=r"is too long: more than 300004 bytes"):
        download.run()


def test_a_file_without_a_stated_length_that_ends_early_is_continued(download: Download, host: Host) -> None:
    host.then(lambda request: replace(host.whole(request), length=-1, cut=1000))
    assert download.run() == CONTENT
    assert host.ranges == [None, "bytes=1000-"]


def test_a_file_of_unknown_size_is_fetched_and_compared_with_the_first_digits(
    download: Download, host: Host
) -> None:
    download.changed(bytes=None, sha256=download.artefact.sha256[:8])
    host.then(Reply(body=CONTENT, length=-1))
    assert download.run() == CONTENT


def test_another_file_is_found_by_its_hash(download: Download, host: Host) -> None:
    host.content = bytes([80]) * SIZE
    with pytest.raises(DownloadError, match=r"toy\.bin has the sha256 [0-9a-f]{64}, the published file"):
        download.run()
    assert list(download.folder.iterdir()) == []


def test_what_comes_compressed_is_refused(download: Download, host: Host) -> None:
    host.then(Reply(body=b"x", headers={"Content-Encoding": "br"}))
    with pytest.raises(DownloadError, match=r"sent something compressed \(br\), for toy\.bin"):
        download.run()


def test_a_full_disk_keeps_the_part_for_the_next_run(download: Download, host: Host) -> None:
    with files_of_at_most(200_000), pytest.raises(OutputError, match="cannot be written") as caught:
        download.run()
    assert caught.value.refused is not None
    assert caught.value.refused.errno == errno.EFBIG
    assert "kept for the next run" in str(caught.value)
    host.requests.clear()
    assert download.run() == CONTENT
    assert host.ranges == [f"bytes={200_000}-"]


FAULTS = {
    "breaks": lambda host: host.breaking(90_000),
    "ignores the range": lambda host: lambda request: replace(host.whole(request), cut=150_000),
    "is busy": lambda host: Reply(503),
    "gives another range": lambda host: lambda request: other_range(host, request),
    "refuses the range": lambda host: lambda request: no_range(host, request),
}


def other_range(host: Host, request: Request) -> Reply:
    reply = host.serve(request)
    if reply.status != 206:
        return reply
    return replace(reply, headers={**reply.headers, "Content-Range": f"bytes 5-{SIZE - 1}/{SIZE}"})


def no_range(host: Host, request: Request) -> Reply:
    return Reply(416) if "range" in request.headers else host.serve(request)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(faults=st.lists(st.sampled_from(list(FAULTS)), min_size=1, max_size=3))
def test_whatever_goes_wrong_three_times_the_file_is_whole(
    host: Host, download: Download, faults: list[str]
) -> None:
    download.place.unlink(missing_ok=True)
    host.forget()
    host.then(*[FAULTS[name](host) for name in faults])
    assert download.run() == CONTENT

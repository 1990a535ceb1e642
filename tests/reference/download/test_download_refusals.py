"""What hosts, proxies and networks refuse is one message: what happened, likely causes, the way by hand."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import connection

from reference.errors import DownloadError
from tests.reference.download.conftest import CONTENT, Download
from tests.reference.download.server import Host, Reply, redirect

DISABLED = "Access to this resource is disabled."
PAGE = b"\n <!DOCTYPE html><title>Log in</title>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:2cff93af\nsize 4265380512\n"

#: What a host answers -> words of the message.
REFUSALS = {
    "gated": (
        Reply(401, headers={"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted."}),
        (
            "(401, GatedRepo, Access is restricted.)",
            "accept its terms on https://toys.example/toy",
            "HF_TOKEN",
        ),
    ),
    "missing, or private": (
        Reply(401, headers={"X-Error-Code": "RepoNotFound"}),
        ("(401, RepoNotFound)", "gated", "private", "removed", "no token was sent", "hf auth login"),
    ),
    "a 401 without a code": (Reply(401), ("(401)", "gated", "private", "removed", "no token was sent")),
    "not accepted": (
        Reply(403, headers={"X-Error-Code": "GatedRepo"}),
        ("(403, GatedRepo)", "accept its terms"),
    ),
    "forbidden": (
        Reply(403),
        ("(403)", "terms may have to be accepted", "firewall", "countries", "HF_ENDPOINT"),
    ),
    "disabled": (
        Reply(403, headers={"X-Error-Message": DISABLED}),
        (f"(403, {DISABLED})", "its owner or the law"),
    ),
    "for legal reasons": (Reply(451), ("(451)", "its owner or the law has closed it")),
    "no such file": (
        Reply(404, headers={"X-Error-Code": "EntryNotFound"}),
        ("(404, EntryNotFound)", "moved or removed", "mirror does not have it"),
    ),
    "a status of its own": (Reply(418), ("refuses toy.bin (418)", "https://toys.example/toy")),
    "a web page": (Reply(body=PAGE), ("sent a web page, not the file", "wants a login", "in a browser")),
    "a pointer": (Reply(body=POINTER), ("sent a pointer of Git LFS, not the file itself",)),
    "a message": (Reply(body=b'{"error": "no"}'), ("sent a message in JSON, not the file",)),
    "nothing": (Reply(), ("sent an empty file",)),
    "a part that was not asked for": (Reply(206, b"PK"), ("refuses toy.bin (206)",)),
    "a redirect to nowhere": (Reply(302), ("redirects to nothing", "a proxy or a mirror is at fault")),
    "a redirect to a file": (redirect("file:///etc/passwd"), ("redirects to file:///etc/passwd",)),
    "another file in its place": (
        Reply(body=b"PK", headers={"X-Linked-Etag": f'"{"0" * 64}"'}),
        ("another file has taken the place of toy.bin: its sha256 is 000",),
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_says_what_happened_and_how_to_get_the_file_by_hand(
    name: str, download: Download, host: Host
) -> None:
    reply, words = REFUSALS[name]
    host.then(reply)
    with pytest.raises(DownloadError) as caught:
        download.run()
    text = str(caught.value)
    for word in (*words, "127.0.0.1" if "place" not in name else "sha256"):
        assert word in text
    assert text.splitlines()[-1] == (
        f"  by hand: get toy.bin (sha256 {download.artefact.sha256}) from {download.artefact.url},"
        f" and save it as {download.place}"
    )
    assert download.slept == []
    assert not download.place.exists()


def test_a_page_that_comes_when_a_download_goes_on_leaves_the_part(download: Download, host: Host) -> None:
    host.then(host.breaking(200_000), Reply(body=PAGE))
    with pytest.raises(DownloadError, match="a web page"):
        download.run()
    assert download.part.stat().st_size == 196_608


def test_a_token_that_was_sent_may_be_wrong(
    of_hub: Download, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_toy")
    host.then(Reply(401))
    with pytest.raises(DownloadError, match="the token that was sent may be wrong or expired"):
        of_hub.run()


def test_a_circle_of_redirects_is_left(download: Download, host: Host) -> None:
    host.then(redirect("/a"), redirect("/b?sig=secret"), redirect("/a"))
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1 redirects in a circle, by http.*/a"):
        download.run()
    assert [request.path for request in host.requests] == ["/toy.bin", "/a", "/b?sig=secret"]


def test_a_signature_in_an_address_is_not_shown(download: Download, host: Host) -> None:
    host.then(redirect("/a?signature=secret"), redirect("/a?signature=secret"))
    with pytest.raises(DownloadError, match="redirects in a circle") as caught:
        download.run()
    assert "secret" not in str(caught.value)


def test_redirects_that_never_end_are_left(download: Download, host: Host) -> None:
    host.then(*[redirect(f"/{number}") for number in range(50)])
    with pytest.raises(DownloadError, match="redirects in a circle"):
        download.run()
    assert len(host.requests) == 11


def test_a_redirect_from_tls_to_no_tls_is_refused(
    download: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No host with a certificate is at hand.
    def send(adapter: HTTPAdapter, request: requests.PreparedRequest, **options: object) -> requests.Response:
        response = requests.Response()
        response.status_code, response.request, response.url = 302, request, str(request.url)
        response.headers["Location"] = "http://toys.example/toy.bin"
        return response

    monkeypatch.setattr(HTTPAdapter, "send", send)
    download.changed(url="https://toys.example/toy.bin")
    with pytest.raises(
        DownloadError, match=r"redirects to a place without TLS: http://toys\.example/toy\.bin"
    ):
        download.run()


def test_no_network_is_said_at_once(download: Download, monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*arguments: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    download.changed(url="http://toys.example/toy.bin")
    with pytest.raises(DownloadError, match=r"toys\.example is not found: no network, or no DNS"):
        download.run()
    assert download.slept == []


def test_a_network_that_is_lost_on_the_way_is_waited_for(
    download: Download, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([True, False, False, True])
    real = connection.create_connection

    def connect(*arguments: object, **options: object) -> socket.socket:
        if not next(answers):
            raise OSError("Network is unreachable")
        return real(*arguments, **options)

    monkeypatch.setattr(connection, "create_connection", connect)
    host.then(host.breaking(200_000))
    assert download.run() == CONTENT
    assert download.slept == [1, 2, 4]
    assert "127.0.0.1 cannot be reached: Network is unreachable: next try in 2 s" in download.notes.lines


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_a_host_that_takes_no_connection_is_named(download: Download) -> None:
    download.changed(url=f"http://127.0.0.1:{closed_port()}/toy.bin")
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1 cannot be reached: .*refused"):
        download.run()
    assert download.slept == []


def test_a_host_without_tls_behind_https_is_not_secure(download: Download, host: Host) -> None:
    download.changed(url=host.url.replace("http://", "https://") + "/toy.bin")
    with pytest.raises(DownloadError, match=r"the connection to 127\.0\.0\.1 is not secure: .*SSL") as caught:
        download.run()
    assert "REQUESTS_CA_BUNDLE" in str(caught.value)


def proxy_that_is_not_there(host: Host) -> str:
    return f"http://localhost:{closed_port()}"


def proxy_that_wants_a_name(host: Host) -> str:
    host.then(Reply(407))
    return host.url


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("proxy", [proxy_that_is_not_there, proxy_that_wants_a_name])
def test_a_fault_of_the_proxy_is_named(
    proxy: Callable[[Host], str],
    scheme: str,
    download: Download,
    other_host: Host,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", proxy(other_host))
    download.changed(url=f"{scheme}://toys.example/toy.bin")
    with pytest.raises(DownloadError) as caught:
        download.run()
    assert caught.value.message.startswith("the proxy localhost does not lead to toys.example: ")
    assert "check HTTPS_PROXY, or name the host in NO_PROXY" in str(caught.value)


def test_a_socks_proxy_names_its_package(download: Download, monkeypatch: pytest.MonkeyPatch) -> None:
    # As requests does where the package is not installed.
    def manager(*arguments: object, **options: object) -> None:
        raise requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")

    monkeypatch.setattr("requests.adapters.SOCKSProxyManager", manager)
    monkeypatch.setenv("HTTP_PROXY", "socks5://localhost:1")
    with pytest.raises(
        DownloadError, match=r"the proxy localhost .*: a SOCKS proxy needs the package PySocks"
    ):
        download.run()


def test_the_proxy_of_the_environment_is_used_but_for_the_hosts_that_it_leaves_out(
    download: Download, host: Host, other_host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HTTP_PROXY", other_host.url)
    assert download.run() == CONTENT
    assert [request.path for request in other_host.requests] == [download.artefact.url]
    assert host.requests == []
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    download.folder = tmp_path / "again"
    assert download.run() == CONTENT
    assert len(host.requests) == len(other_host.requests) == 1

"""Errors of a download: what a host, a proxy or the network did, all likely causes, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies, select_proxy
from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
)

from reference.errors import DownloadError

from .artefacts import Artefact

_NETWORK = "check the network; behind a proxy, set HTTPS_PROXY"
_MIRROR = "for files of the Hub, HF_ENDPOINT names a mirror"
_LONGEST = 200


class PassingError(DownloadError):
    """A failure that may pass by itself, so that another try is worth it.

    Attributes:
        wait: seconds to wait, if the host said so.
        only_later: it is worth another try only if the network has worked before: the first thing a machine
            without network should do is to say so.
    """

    def __init__(
        self, message: str, hint: str, *, wait: float | None = None, only_later: bool = False
    ) -> None:
        super().__init__(message, hint)
        self.wait = wait
        self.only_later = only_later


def by_hand(artefact: Artefact, place: Path) -> str:
    """Return how to get a file without this program, and where to put it."""
    return (
        f"by hand: get {artefact.file} ({artefact.hash_in_words}) from {artefact.url}, and save it as {place}"
    )


def shown(url: str) -> str:
    """Return a URL for messages, without what follows the path: it may be a signature that gives access."""
    return urlsplit(url)._replace(query="", fragment="").geturl()


def network_error(error: Exception, url: str, seconds: float) -> DownloadError:
    """Return the error for what `requests` or `urllib3` raised.

    Args:
        seconds: how long it waited for data.
    """
    host = urlsplit(url).hostname or url
    if isinstance(error, requests.exceptions.ProxyError | requests.exceptions.InvalidProxyURL):
        return _proxy_error(url, host, error)
    if isinstance(error, requests.exceptions.InvalidSchema) and "SOCKS" in str(error):
        return _proxy_error(url, host, "a SOCKS proxy needs the package PySocks")
    if isinstance(error, requests.exceptions.SSLError):
        return DownloadError(
            f"the connection to {host} is not secure: {_reason(error)}",
            "check the clock of this machine; where a proxy opens connections, REQUESTS_CA_BUNDLE names the"
            " file with its certificate",
        )
    for cause in _causes(error):
        if isinstance(cause, NameResolutionError):
            return PassingError(f"{host} is not found: no network, or no DNS", _NETWORK, only_later=True)
        if isinstance(cause, ReadTimeoutError | requests.exceptions.ReadTimeout):
            return PassingError(f"{host} sent nothing for {seconds:g} s", f"try again later; {_MIRROR}")
        if isinstance(cause, ConnectTimeoutError | NewConnectionError):
            return PassingError(f"{host} cannot be reached: {_reason(cause)}", _NETWORK, only_later=True)
    if isinstance(error, requests.exceptions.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return PassingError(f"the connection to {host} broke", "try again; the network may be unstable")
    return DownloadError(f"{shown(url)} cannot be asked for: {_reason(error)}", _MIRROR)


def refusal(
    artefact: Artefact, url: str, status: int, headers: Mapping[str, str], asked: bool
) -> DownloadError:
    """Return the error for an answer that is not the file.

    Args:
        url: that answered, after all redirects.
        headers: of the answer.
        asked: a token was sent.
    """
    host, code = urlsplit(url).hostname, headers.get("X-Error-Code", "")
    said = headers.get("X-Error-Message", "").strip()[:_LONGEST]
    what = f"{host} refuses {artefact.file} ({', '.join(filter(None, (str(status), code, said)))})"
    if status == 429 or status >= 500 or status == 408:
        busy = "asks for fewer requests" if status == 429 else "has a fault"
        limits = "a token (HF_TOKEN) has higher limits; " if status == 429 else ""
        wait = _wait(headers.get("Retry-After", ""))
        text = f"{host} {busy} ({status})"
        if wait is not None:
            text += f", and to come back in {wait:.0f} s"
        return PassingError(text, f"try again later; {limits}{_MIRROR}", wait=wait)
    if status == 451 or "disabled" in said.lower():
        return DownloadError(what, f"its owner or the law has closed it there; {_MIRROR}")
    if code == "GatedRepo":
        return DownloadError(
            what, f"accept its terms on {artefact.page} while logged in, then set HF_TOKEN, or: hf auth login"
        )
    if status == 401:
        token = "the token that was sent may be wrong or expired" if asked else "no token was sent"
        return DownloadError(
            what,
            f"the file may be gated (accept its terms on {artefact.page}), private or removed; {token}: set"
            " HF_TOKEN, or: hf auth login",
        )
    if status == 403:
        token = "the token may lack the right to read it; " if asked else ""
        return DownloadError(
            what,
            f"{token}its terms may have to be accepted on {artefact.page}; a firewall, or a rule for"
            f" countries, may forbid it; {_MIRROR}",
        )
    if status == 404:
        return DownloadError(
            what, f"it was moved or removed, or the mirror does not have it: see {artefact.page}"
        )
    if status == 407:
        return _proxy_error(url, str(host), "it wants a name and a password")
    return DownloadError(what, f"see {artefact.page}; {_MIRROR}")


def not_the_file(artefact: Artefact, url: str, kind: str) -> DownloadError:
    """Return the error for an answer that has another content, such as a web page."""
    return DownloadError(
        f"{urlsplit(url).hostname} sent {kind}, for {artefact.file}",
        "a network that wants a login, a firewall, a mirror or a page of terms answers so: open"
        f" {artefact.page} in a browser",
    )


def _proxy_error(url: str, host: str, why: object) -> DownloadError:
    proxy = select_proxy(url, get_environ_proxies(url))
    shown = "the proxy" if proxy is None else f"the proxy {urlsplit(proxy).hostname or 'of this machine'}"
    text = _reason(why) if isinstance(why, Exception) else why
    return DownloadError(
        f"{shown} does not lead to {host}: {text}", "check HTTPS_PROXY, or name the host in NO_PROXY"
    )


def _wait(header: str) -> float | None:
    """Read a Retry-After: a number of seconds, or a date."""
    try:
        if header.strip().isdigit():
            return float(header)
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _causes(error: object) -> Iterator[BaseException]:
    """Yield an exception and those that it was made from; `requests` keeps them in its arguments."""
    if isinstance(error, BaseException):
        yield error
        for inner in (*error.args, getattr(error, "reason", None)):
            yield from _causes(inner)


def _reason(error: BaseException) -> str:
    """Return the innermost text of an exception, on one line."""
    last = list(_causes(error))[-1]
    text = " ".join(str(last).split())
    # urllib3: "HTTPSConnection(host='x', port=443): Failed to establish a new connection: [Errno 111] ...".
    text = text.rpartition("): ")[2].removeprefix("Failed to establish a new connection: ")
    return text[:_LONGEST] or type(last).__name__

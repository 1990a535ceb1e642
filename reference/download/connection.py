"""One request for a file. Redirects are followed by hand, so that a token never travels with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import requests
from requests import PreparedRequest, Response, Session
from urllib3.exceptions import HTTPError

from reference.errors import DownloadError

from . import hub
from .refusals import network_error, shown

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 10
_FAULT = "a network that wants a login, a proxy or a mirror is at fault"
#: Bytes that are lost at most when a connection breaks.
_CHUNK = 2**16
#: Sizes and hashes in the transfer are those of the file itself, so no compression is taken.
_ALWAYS = {"Accept-Encoding": "identity", "User-Agent": "odise-trt"}


@dataclass(frozen=True)
class Answer:
    """The answer to a request, after all redirects.

    Attributes:
        url: that answered.
        headers: of this answer. Case is ignored.
        linked: headers X-Linked-Size and X-Linked-Etag that the Hub sends with its redirect: size and hash of
            the file at the end.
        with_token: a token was sent to a host on the way.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    linked: Mapping[str, str]
    with_token: bool
    _response: Response
    _read_seconds: float

    def chunks(self) -> Iterator[bytes]:
        """Yield the content as it comes.

        Raises:
            PassingError: the connection broke, or stalled.
        """
        try:
            yield from self._response.iter_content(_CHUNK)
        except (requests.RequestException, HTTPError) as error:
            raise network_error(error, self.url, self._read_seconds) from error


@contextmanager
def asking(url: str, headers: Mapping[str, str], connect: float, read: float) -> Iterator[Answer]:
    """Ask for a file, and give the answer whatever its status is. Proxies of the environment are used.

    Args:
        headers: to send to every host on the way.
        connect, read: seconds to wait for a connection, and for data.

    Raises:
        DownloadError: the host cannot be reached, or redirects in a circle or to a place without TLS.
    """
    with Session() as session:
        try:
            answer = _follow(session, url, {**_ALWAYS, **headers}, (connect, read))
        except (requests.RequestException, HTTPError) as error:
            raise network_error(error, _url_of(error) or url, read) from error
        try:
            yield answer
        finally:
            answer._response.close()


def _follow(session: Session, start: str, headers: Mapping[str, str], timeout: tuple[float, float]) -> Answer:
    url, seen, linked, with_token = start, set[str](), dict[str, str](), False
    while True:
        token = hub.token_for(url)
        with_token |= token is not None
        response = session.get(
            url,
            headers={**headers, "Authorization": f"Bearer {token}"} if token else dict(headers),
            stream=True,
            allow_redirects=False,
            timeout=timeout,
            auth=_without_netrc,
        )
        linked |= {k.lower(): v for k, v in response.headers.items() if k.lower().startswith("x-linked-")}
        if response.status_code not in _REDIRECTS:
            return Answer(
                url, response.status_code, response.headers, linked, with_token, response, timeout[1]
            )
        response.close()
        seen.add(url)
        url = _target(start, url, response.headers.get("Location", ""), seen)


def _target(start: str, url: str, location: str, seen: set[str]) -> str:
    """Return where a redirect leads."""
    host, target = urlsplit(start).hostname, urljoin(url, location)
    ways = (urlsplit(url).scheme, urlsplit(target).scheme)
    if not location or ways[1] not in ("http", "https"):
        where = shown(location) if location else "nothing"
        raise DownloadError(f"{shown(url)} redirects to {where}", _FAULT)
    if ways == ("https", "http"):
        raise DownloadError(f"{shown(url)} redirects to a place without TLS: {shown(target)}", _FAULT)
    if target in seen or len(seen) > _MOST_REDIRECTS:
        raise DownloadError(f"{host} redirects in a circle, by {shown(target)}", _FAULT)
    return target


def _url_of(error: Exception) -> str | None:
    """Return the URL of the request that failed, which may be another than the first."""
    request = getattr(error, "request", None)
    return request.url if isinstance(request, PreparedRequest) else None


def _without_netrc(request: PreparedRequest) -> PreparedRequest:
    """Authenticate by nothing. Without this, `requests` would send what a .netrc has for the host."""
    return request

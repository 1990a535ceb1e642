"""A host of files on this machine that can do everything a host on the Internet does wrong."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    """A request that came. Names of headers are in lower case."""

    path: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Reply:
    """What the host answers.

    Attributes:
        length: what Content-Length says; None: the truth; -1: the header is left out.
        cut: bytes of the body after which the connection ends; None: all are sent.
        stalls: it does not end there, but nothing more comes.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    cut: int | None = None
    stalls: bool = False


#: Makes the reply to a request.
Behaviour = Callable[[Request], Reply]


class Host:
    """A host with one file, which it serves at every path, with ranges.

    Attributes:
        content, etag: the file. No etag: the host sends none.
        requests: all that came, in order.
        url: where it is, as `http://127.0.0.1:PORT`.
    """

    def __init__(self, name: str, content: bytes) -> None:
        self.content = content
        self.etag: str | None = '"one"'
        self.requests: list[Request] = []
        self._next: list[Behaviour] = []
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://{name}:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator[Host]:
        """Serve in the block."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self._released.set()
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def then(self, *replies: Reply | Behaviour) -> None:
        """Give these replies to the next requests, then serve the file again."""
        self._next += [_always(one) if isinstance(one, Reply) else one for one in replies]

    def forget(self) -> None:
        """Forget the replies that were not sent yet."""
        self._next.clear()

    def serve(self, request: Request) -> Reply:
        """Reply with the file or the range of it that was asked for, as RFC 9110 has it."""
        headers = {"ETag": self.etag} if self.etag else {}
        match = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        if match is None or request.headers.get("if-range", self.etag) != self.etag:
            return Reply(body=self.content, headers=headers)
        first, total = int(match[1]), len(self.content)
        if first >= total:
            return Reply(416, headers={"Content-Range": f"bytes */{total}"})
        headers["Content-Range"] = f"bytes {first}-{total - 1}/{total}"
        return Reply(206, self.content[first:], headers)

    def breaking(self, after: int) -> Behaviour:
        """Serve the file, but end the connection after so many bytes of the reply."""
        return lambda request: replace(self.serve(request), cut=after)

    def whole(self, request: Request) -> Reply:
        """Serve the whole file, whatever range was asked for."""
        return Reply(body=self.content, headers={"ETag": self.etag} if self.etag else {})

    @property
    def ranges(self) -> list[str | None]:
        """The range that each request asked for."""
        return [request.headers.get("range") for request in self.requests]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                request = Request(self.path, {name.lower(): value for name, value in self.headers.items()})
                host.requests.append(request)
                behaviour = host._next.pop(0) if host._next else host.serve
                self._send(behaviour(request))

            do_CONNECT = do_GET

            def _send(self, reply: Reply) -> None:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.length != -1:
                    length = len(reply.body) if reply.length is None else reply.length
                    self.send_header("Content-Length", str(length))
                self.end_headers()
                try:
                    self.wfile.write(reply.body[: reply.cut])
                    self.wfile.flush()
                except OSError:  # the client has seen enough
                    return
                if reply.stalls:
                    host._released.wait(30)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


def redirect(target: str, status: int = 302, **headers: str) -> Reply:
    """A redirect. Names of headers have `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, headers={"Location": target, **named})


def _always(reply: Reply) -> Behaviour:
    return lambda request: reply

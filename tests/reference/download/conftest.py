"""Two hosts, a small file on them, and a machine without settings and caches."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from reference.download.artefacts import HUB, MIT, Artefact
from reference.download.fetching import fetch
from reference.download.reporter import Reporter
from reference.download.transfer import Patience
from tests.reference.download.server import Host

CONTENT = b"PK\x03\x04" + random.Random(0).randbytes(300_000)
SETTINGS = (
    *("HF_ENDPOINT", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "HF_HUB_CACHE"),
    *("HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_IMPLICIT_TOKEN"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy"),
    *("no_proxy", "ODISE_CACHE", "ODISE_MODEL_ZOO", "FVCORE_CACHE", "XDG_CACHE_HOME", "NETRC"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)


class Notes(Reporter):
    """Keeps what a person would read.

    Attributes:
        lines: the notes.
        on_bytes: is called with each number of bytes that came.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.on_bytes: Callable[[int], None] = lambda count: None

    def note(self, text: str) -> None:
        self.lines.append(text)

    @contextmanager
    def counting(self, what: str, total: int | None, done: int = 0) -> Iterator[Callable[[int], None]]:
        yield self.on_bytes if what.startswith("fetching") else lambda count: None


@dataclass
class Download:
    """A file to fetch, and how a person who waits for it sees that.

    Attributes:
        slept: the seconds of each wait.
        asked: the names of the files that consent was asked for, each time.
    """

    artefact: Artefact
    folder: Path
    notes: Notes = field(default_factory=Notes)
    slept: list[float] = field(default_factory=list)
    asked: list[list[str]] = field(default_factory=list)
    read: float = 10

    @property
    def place(self) -> Path:
        return self.folder / self.artefact.file

    @property
    def part(self) -> Path:
        return self.folder / f"{self.artefact.file}.part"

    def run(self) -> bytes:
        """Fetch the file and return what is at its path."""
        patience = Patience(connect=10, read=self.read, tries=4, longest_wait=120, sleep=self.slept.append)
        files = fetch([self.artefact], self.folder, self._consent, reporter=self.notes, patience=patience)
        assert list(files) == [self.artefact.name]
        return files[self.artefact.name].read_bytes()

    def changed(self, **facts: object) -> None:
        """Change facts of the artefact."""
        self.artefact = replace(self.artefact, **facts)

    def _consent(self, artefacts: object) -> str:
        self.asked.append([artefact.name for artefact in artefacts])
        return "in a test"


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without settings; returns the home of its user."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def host() -> Iterator[Host]:
    with Host("127.0.0.1", CONTENT).running() as host:
        yield host


@pytest.fixture
def other_host() -> Iterator[Host]:
    """A second host, which has another name."""
    with Host("localhost", CONTENT).running() as host:
        yield host


@pytest.fixture
def download(host: Host, tmp_path: Path) -> Download:
    """The file, published on `host`."""
    return Download(artefact_at(f"{host.url}/toy.bin"), tmp_path / "weights")


@pytest.fixture
def of_hub(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Download:
    """The file as one of the Hub, of which `host` is a mirror."""
    monkeypatch.setenv("HF_ENDPOINT", f"{host.url}/")
    return Download(artefact_at(f"{HUB}/owner/toys/resolve/main/toy.bin"), tmp_path / "weights")


def artefact_at(url: str) -> Artefact:
    """The small file, published at `url`."""
    return Artefact(
        name="toy",
        file="toy.bin",
        url=url,
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        bytes=len(CONTENT),
        about=len(CONTENT),
        licence=MIT,
        page="https://toys.example/toy",
    )

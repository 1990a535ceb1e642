"""From nothing to the converted file with one call, and from there to a bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from odise_trt.errors import WeightsError
from reference.checkpoint import describe_weights, load_weights
from reference.convert import versions
from reference.convert.official import found, provide
from reference.download import ARTEFACTS, OF_PRESET, accepted
from reference.download.artefacts import MIT, Artefact
from reference.errors import DownloadError
from reference.features.sources import load_model
from reference.weights import place
from tests.door import call, verb
from tests.reference.convert.golden_files import inputs
from tests.reference.download.server import Host

ROLES = ("odise", "sd", "clip")


@dataclass
class Published:
    """The golden label model as if it were published: three files on hosts of their own."""

    hosts: dict[str, Host]
    folder: Path

    @property
    def requests(self) -> int:
        return sum(len(host.requests) for host in self.hosts.values())


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, bytes]]:
    """Name and bytes of the three files. They are not found where they were written."""
    files = inputs(tmp_path_factory.mktemp("theirs"))
    contents = {}
    for role, path in zip(ROLES, (files.odise, files.stable_diffusion, files.clip), strict=True):
        assert path is not None
        contents[role] = (path.name, path.read_bytes())
        path.unlink()
    return contents


@pytest.fixture
def published(
    contents: dict[str, tuple[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Published]:
    for name in ("HF_ENDPOINT", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ODISE_CACHE", str(tmp_path / "cache"))
    with ExitStack() as stack:
        hosts = {}
        for role, (file, content) in contents.items():
            hosts[role] = stack.enter_context(Host("127.0.0.1", content).running())
            sha256 = hashlib.sha256(content).hexdigest()
            artefact = Artefact(
                name=f"golden-{role}",
                file=file,
                url=f"{hosts[role].url}/{file}",
                sha256=sha256,
                bytes=len(content),
                about=len(content),
                licence=MIT,
                page="https://golden.example",
            )
            monkeypatch.setitem(ARTEFACTS, artefact.name, artefact)
            if role == "sd":
                monkeypatch.setitem(versions._STABLE_DIFFUSION, sha256, "1.3")
        monkeypatch.setitem(OF_PRESET, "golden-label", tuple(f"golden-{role}" for role in ROLES))
        monkeypatch.setattr(place, "PUBLISHED", ("golden-label",))
        yield Published(hosts, tmp_path / "cache" / "weights")


def test_one_call_fetches_and_converts_and_the_next_does_nothing(published: Published) -> None:
    with pytest.raises(WeightsError, match="odise-trt build --weights official does both"):
        load_weights("golden-label", "official")
    path = provide("golden-label", accepted("in a test"))
    assert path == published.folder / "golden-label.safetensors"
    licences = sorted(file.name for file in published.folder.glob("*.licence.json"))
    assert licences == [
        "ViT-L-14-336px.pt.licence.json",
        "odise_label.pth.licence.json",
        "sd-v1-3.ckpt.licence.json",
    ]
    before, changed = published.requests, path.stat().st_mtime_ns

    def nobody(artefacts):
        raise AssertionError("nothing is to be fetched")

    assert provide("golden-label", nobody) == path
    assert (published.requests, path.stat().st_mtime_ns) == (before, changed)
    # Without the converted file it is made again, from what was fetched.
    path.unlink()
    assert provide("golden-label", nobody) == path
    assert published.requests == before
    assert describe_weights("golden-label", "official")["source"] == "official"
    assert load_weights("golden-label", "official").preset.name == "golden-label"
    # What features take of it, before any feature is computed.
    source = load_model("golden-label", "official", None, None)
    assert (source.caption, source.facts["weights"], source.facts["sd_version"]) == (
        "implicit",
        "official",
        "1.3",
    )


def test_without_consent_nothing_is_fetched(published: Published) -> None:
    def refused(artefacts):
        raise DownloadError("no", "no")

    with pytest.raises(DownloadError):
        provide("golden-label", refused)
    assert published.requests == 0
    assert not published.folder.exists()


def test_files_that_are_not_given_are_found(published: Published, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"--odise, --sd, --clip are missing(.|\n)*download golden-label"):
        found("golden-label", None, None, None)
    provide("golden-label", accepted("in a test"))
    odise, sd, clip = found("golden-label", None, tmp_path / "mine.ckpt", None)
    assert (odise, sd, clip) == (
        published.folder / "odise_label.pth",
        tmp_path / "mine.ckpt",
        published.folder / "ViT-L-14-336px.pt",
    )
    assert found("golden-label", None, None, None, frozen=True)[0] is None


def test_a_preset_that_is_not_published_is_named(published: Published) -> None:
    with pytest.raises(WeightsError, match="no weights of preset 'demo' are published"):
        provide("demo", accepted("in a test"))


def test_a_build_asks_for_consent_before_anything_else(published: Published, tmp_path: Path) -> None:
    build = verb("export.cli:build")
    options = ["--preset", "golden-label", "--weights", "official", "--output", tmp_path / "engines"]
    done = call(build, *options, "--stage", "text_encoder")
    assert done.status == 1
    assert "MIT: nobody accepted what is above, and nothing was fetched" in done.stderr
    assert published.requests == 0
    done = call(build, "--preset", "demo", "--accept-licenses")
    assert "--accept-licenses is for --weights official" in done.stderr


@pytest.mark.slow
def test_a_build_of_the_published_weights_is_one_command(published: Published, tmp_path: Path) -> None:
    build = verb("export.cli:build")
    options = ["--preset", "golden-label", "--weights", "official", "--output", tmp_path / "engines"]
    done = call(build, *options, "--stage", "text_encoder", "--accept-licenses")
    assert (done.status, done.stderr.count("is fetched")) == (0, 3), done.stderr
    done = call(build, *options, "--stage", "text_encoder")
    assert (done.status, "fetched" in done.stderr) == (0, False), done.stderr

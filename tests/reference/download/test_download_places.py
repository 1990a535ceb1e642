"""Files that users of the official code have are found and verified, and used where they lie."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from odise_trt.errors import OutputError, WeightsError
from reference.download import find
from reference.download.artefacts import ARTEFACTS, HUB, Artefact, Holder
from reference.download.places import official_places
from reference.weights.place import weights_folder
from tests.reference.download.conftest import CONTENT, Download, Notes, artefact_at
from tests.reference.download.server import Host

TOY = replace(artefact_at(f"{HUB}/owner/toys/resolve/main/toy.bin"), holders=tuple(Holder))
SHA256 = hashlib.sha256(CONTENT).hexdigest()

#: Variable to set, to a folder `x`; and where the file lies, below the home or that folder.
PLACES = {
    "the model zoo": ("ODISE_MODEL_ZOO", "toy.bin"),
    "iopath": (None, ".torch/iopath_cache/owner/toys/resolve/main/toy.bin"),
    "iopath, moved": ("FVCORE_CACHE", "owner/toys/resolve/main/toy.bin"),
    "CLIP": (None, ".cache/clip/toy.bin"),
    "a snapshot": (None, ".cache/huggingface/hub/models--owner--toys/snapshots/c0ffee/toy.bin"),
    "a blob": (None, f".cache/huggingface/hub/models--owner--toys/blobs/{SHA256}"),
    "a snapshot, HF_HUB_CACHE": ("HF_HUB_CACHE", "models--owner--toys/snapshots/c0ffee/toy.bin"),
    "a snapshot, its older name": ("HUGGINGFACE_HUB_CACHE", "models--owner--toys/snapshots/c0ffee/toy.bin"),
    "a snapshot, HF_HOME": ("HF_HOME", "hub/models--owner--toys/snapshots/c0ffee/toy.bin"),
    "a snapshot, XDG": ("XDG_CACHE_HOME", "huggingface/hub/models--owner--toys/snapshots/c0ffee/toy.bin"),
    "our folder": (None, ".cache/odise-trt/weights/toy.bin"),
    "our folder, moved": ("ODISE_CACHE", "weights/toy.bin"),
}


def put(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", PLACES)
def test_a_file_is_found_where_programs_keep_it(
    name: str, machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable, inside = PLACES[name]
    place = machine / inside
    if variable is not None:
        place = tmp_path / "x" / inside
        monkeypatch.setenv(variable, str(tmp_path / "x"))
    assert find(TOY) is None
    put(place)
    assert find(TOY) == place


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("odise-label-release", "NVlabs/ODISE/releases/download/v1.0.0/odise_label_coco_50e-b67d2efc.pth"),
        ("sd-v1-3", "CompVis/stable-diffusion-v-1-3-original/resolve/main/sd-v1-3.ckpt"),
    ],
)
def test_the_places_are_those_of_the_official_code(
    name: str, inside: str, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODISE_MODEL_ZOO", "~/zoo")
    artefact = ARTEFACTS[name]
    first, second, *_ = official_places(artefact)
    assert first == machine / "zoo" / artefact.file
    assert second == machine / ".torch" / "iopath_cache" / inside


def test_the_place_of_clip_is_that_of_clip(machine: Path) -> None:
    assert list(official_places(ARTEFACTS["clip-vit-l-14-336"])) == [
        machine / ".cache/clip/ViT-L-14-336px.pt"
    ]


def test_a_file_that_is_found_is_used_where_it_lies(download: Download, host: Host, machine: Path) -> None:
    download.changed(holders=(Holder.CLIP,))
    place = put(machine / ".cache" / "clip" / "toy.bin")
    assert download.run() == CONTENT
    assert host.requests == download.asked == []
    assert not download.folder.exists()
    assert download.notes.lines == [f"toy is here: {place}"]


WRONG = {
    "of another size": (CONTENT[:-1], "has 300003 bytes, the published file 300004"),
    "of another content": (CONTENT[:-1] + b"x", f"the published file the sha256 {SHA256}"),
    "a web page": (b"<html>", "is a web page, not the file"),
    "empty": (b"", "is an empty file"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_said_and_not_used(name: str, download: Download, host: Host, machine: Path) -> None:
    content, why = WRONG[name]
    download.changed(holders=(Holder.CLIP,))
    wrong = put(machine / ".cache" / "clip" / "toy.bin", content)
    assert download.run() == CONTENT
    assert len(host.requests) == 1
    (line,) = [line for line in download.notes.lines if "not used" in line]
    assert line.startswith(f"{wrong} ")
    assert line.endswith(f"{why}: it is not used")
    assert wrong.read_bytes() == content


def test_a_wrong_file_does_not_hide_a_right_one(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODISE_MODEL_ZOO", str(machine / "zoo"))
    put(machine / "zoo" / "toy.bin", b"wrong")
    right = put(machine / ".cache" / "clip" / "toy.bin")
    assert find(TOY) == right


def test_a_file_of_the_name_in_the_folder_is_never_replaced(download: Download, host: Host) -> None:
    put(download.place, b"PK, mine")
    with pytest.raises(WeightsError, match=r"toy\.bin has 8 bytes, the published file 300004") as caught:
        download.run()
    assert "move it away, or choose another folder with --output" in str(caught.value)
    assert download.place.read_bytes() == b"PK, mine"
    assert host.requests == download.asked == []


def test_a_snapshot_and_its_blob_are_read_once(machine: Path) -> None:
    repository = machine / ".cache/huggingface/hub/models--owner--toys"
    blob = put(repository / "blobs" / SHA256, CONTENT[:-1] + b"x")
    link = repository / "snapshots" / "c0ffee" / "toy.bin"
    link.parent.mkdir(parents=True)
    link.symlink_to(blob)
    notes = Notes()
    assert find(TOY, reporter=notes) is None
    assert len(notes.lines) == 1


def test_a_file_that_cannot_be_read_is_said(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = put(machine / ".cache" / "clip" / "toy.bin")

    # Tests may run as root, whom permissions do not stop.
    def closed(path: Path, *arguments: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", closed)
    notes = Notes()
    assert find(TOY, reporter=notes) is None
    assert notes.lines == [f"{place} cannot be read: Permission denied: it is not used"]


def test_a_hash_of_which_the_beginning_is_known_is_compared_so_far() -> None:
    release = ARTEFACTS["odise-label-release"]
    assert release.has_hash("b67d2efc" + "0" * 56)
    assert not release.has_hash("b67d2efd" + "0" * 56)


@pytest.mark.parametrize("folder", ["", "relative/cache"])
def test_the_folder_of_weights_is_in_the_users_cache(
    folder: str, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", folder)
    assert weights_folder() == machine / ".cache" / "odise-trt" / "weights"
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert weights_folder() == Path("/caches/odise-trt/weights")
    monkeypatch.setenv("ODISE_CACHE", "~/odise")
    assert weights_folder() == machine / "odise" / "weights"


def test_a_folder_of_weights_below_an_unknown_home_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODISE_CACHE", "~nobody-has-this-name/cache")
    with pytest.raises(OutputError, match="no such home is known"):
        weights_folder()


def test_every_artefact_is_described(machine: Path) -> None:
    for name, artefact in ARTEFACTS.items():
        assert artefact.name == name
        assert artefact.url.startswith("https://")
        assert artefact.url.endswith(f"/{artefact.file}")
        assert set(artefact.sha256) <= set("0123456789abcdef")
        assert len(artefact.sha256) in (8, 64)
        assert artefact.holders
        assert artefact.bytes in (None, artefact.about)


def test_the_releases_have_the_beginning_of_their_hash_in_their_name() -> None:
    releases: list[Artefact] = [a for a in ARTEFACTS.values() if not a.is_hash_whole]
    assert [Path(a.file).stem.endswith(f"-{a.sha256}") for a in releases] == [True, True]

"""The settings of the Hub: a mirror, and a token that goes nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from reference.download import hub
from reference.download.artefacts import ARTEFACTS, HUB
from reference.errors import DownloadError
from tests.reference.download.conftest import CONTENT, Download
from tests.reference.download.server import Host, redirect

FILE = f"{HUB}/owner/toys/resolve/main/toy.bin"


def test_a_token_goes_to_the_hub_and_not_where_it_redirects_to(
    of_hub: Download, host: Host, other_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_toy")
    host.then(redirect("/renamed/toy.bin", 307), redirect(f"{other_host.url}/blob?signature=x"))
    assert of_hub.run() == CONTENT
    assert [request.headers.get("authorization") for request in host.requests] == ["Bearer hf_toy"] * 2
    assert [request.path for request in host.requests] == [
        "/owner/toys/resolve/main/toy.bin",
        "/renamed/toy.bin",
    ]
    assert [request.headers.get("authorization") for request in other_host.requests] == [None]


def test_a_redirect_back_to_the_hub_has_the_token_again(
    of_hub: Download, host: Host, other_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_toy")
    host.then(redirect(f"{other_host.url}/away"))
    other_host.then(redirect(f"{host.url}/back"))
    assert of_hub.run() == CONTENT
    assert [request.headers.get("authorization") for request in host.requests] == ["Bearer hf_toy"] * 2
    assert other_host.requests[0].headers.get("authorization") is None


def test_a_token_is_not_sent_to_hosts_that_are_not_the_hub(
    download: Download, host: Host, other_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_toy")
    monkeypatch.setenv("HF_ENDPOINT", other_host.url)
    assert download.run() == CONTENT
    assert "authorization" not in host.requests[0].headers


def test_a_netrc_is_not_read(
    download: Download, host: Host, monkeypatch: pytest.MonkeyPatch, machine: Path
) -> None:
    netrc = machine / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert download.run() == CONTENT
    assert "authorization" not in host.requests[0].headers


def test_each_try_begins_at_the_address_that_does_not_expire(
    of_hub: Download, host: Host, other_host: Host
) -> None:
    blob = redirect(f"{other_host.url}/blob", X_Linked_Size=str(len(CONTENT)))
    host.then(blob, blob)
    other_host.then(other_host.breaking(200_000))
    assert of_hub.run() == CONTENT
    assert len(host.requests) == 2
    assert other_host.ranges == [None, "bytes=196608-"]


def test_the_hub_states_the_size_before_the_file_comes(
    of_hub: Download, host: Host, other_host: Host
) -> None:
    of_hub.changed(bytes=None)
    host.then(redirect(f"{other_host.url}/blob", X_Linked_Size="300005"))
    with pytest.raises(DownloadError, match="too short: 300004 bytes, the published file has 300005"):
        of_hub.run()


def test_the_hub_states_the_hash_before_the_file_comes(
    of_hub: Download, host: Host, other_host: Host
) -> None:
    host.then(redirect(f"{other_host.url}/blob", X_Linked_Etag=f'"{"1" * 64}"'))
    with pytest.raises(DownloadError, match=r"another file has taken the place of toy\.bin"):
        of_hub.run()
    right = f'"{of_hub.artefact.sha256}"'
    host.then(redirect(f"{other_host.url}/blob", X_Linked_Etag=right))
    assert of_hub.run() == CONTENT


def test_the_token_of_a_login_goes_to_the_hub_and_to_no_mirror(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = machine / ".cache" / "huggingface"
    place.mkdir(parents=True)
    (place / "token").write_text("hf_login\n")
    assert hub.token_for(FILE) == "hf_login"
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example")
    assert hub.token_for("https://mirror.example/owner/toys") is None
    monkeypatch.setenv("HF_TOKEN", "hf_set")
    assert hub.token_for("https://mirror.example/owner/toys") == "hf_set"
    assert hub.token_for(FILE) is None


@pytest.mark.parametrize("variable", ["HF_TOKEN_PATH", "HF_HOME", "XDG_CACHE_HOME"])
def test_the_token_of_a_login_is_found_where_the_variables_say(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = {"HF_TOKEN_PATH": ".", "HF_HOME": "token", "XDG_CACHE_HOME": "huggingface/token"}[variable]
    monkeypatch.setenv(variable, str(tmp_path / "x"))
    file = tmp_path / "x" / inside
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("hf_login")
    assert hub.token_for(FILE) == "hf_login"


@pytest.mark.parametrize(
    "url",
    [
        "http://huggingface.co/owner/toys",
        "https://huggingface.co:444/owner/toys",
        "https://huggingface.co.example/owner/toys",
        "https://cdn-lfs.huggingface.co/owner/toys",
        "https://github.com/NVlabs/ODISE",
    ],
)
def test_a_token_is_for_one_host_with_tls(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_toy")
    assert hub.token_for(url) is None
    assert hub.token_for("https://HuggingFace.co:443/owner") == "hf_toy"


def test_a_token_does_not_travel_to_a_mirror_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_toy")
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.example")
    assert hub.token_for("http://mirror.example/owner/toys") is None


def test_a_user_may_forbid_to_send_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_toy")
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    assert hub.token_for(FILE) is None


@pytest.mark.parametrize("token", ["hf_a\nX-Header: b", "hf a", "hf_ü"])
def test_a_token_that_cannot_be_one_is_refused_without_being_shown(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(DownloadError, match="the token of HF_TOKEN has letters that no token has") as caught:
        hub.token_for(FILE)
    assert token not in str(caught.value)


def test_only_files_of_the_hub_come_from_a_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/hub/")
    moved = [name for name, artefact in ARTEFACTS.items() if hub.address(artefact) != artefact.url]
    assert moved == ["sd-v1-3"]
    assert hub.address(ARTEFACTS["sd-v1-3"]) == (
        "https://mirror.example/hub/CompVis/stable-diffusion-v-1-3-original/resolve/main/sd-v1-3.ckpt"
    )


def test_a_mirror_with_a_password_in_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://me:secret@mirror.example")
    with pytest.raises(DownloadError, match="has a name or a password in it") as caught:
        hub.endpoint()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["mirror.example", "ftp://mirror.example", "https://"])
def test_a_mirror_that_is_no_address_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", text)
    with pytest.raises(DownloadError, match="HF_ENDPOINT is"):
        hub.endpoint()

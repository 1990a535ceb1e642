"""The environment variables of the Hub's own client that this room honours: mirror, token, offline, cache.

<https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables> describes them.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from odise_trt.files.paths import expanded
from reference.errors import DownloadError

from .artefacts import HUB, Artefact

_TRUE = {"1", "ON", "YES", "TRUE"}
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
#: Hosts of this machine. What is sent to them does not travel.
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def offline() -> str | None:
    """Return the variable that forbids to use the network, `HF_HUB_OFFLINE=1`. None: it is allowed."""
    return next((f"{name}={os.environ[name]}" for name in _OFFLINE if _is_true(name)), None)


def endpoint() -> str:
    """Return where the Hub is: `HF_ENDPOINT` without a slash at the end, or https://huggingface.co.

    Raises:
        DownloadError: `HF_ENDPOINT` is not an address, or has a password in it.
    """
    given = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/")
    parts = urlsplit(given)
    if given and not (parts.scheme in ("http", "https") and parts.hostname):
        raise DownloadError(f"HF_ENDPOINT is {given!r}", "give an address, as https://mirror.example")
    if parts.username is not None:
        # It would stand in messages and records.
        raise DownloadError("HF_ENDPOINT has a name or a password in it", "give a token in HF_TOKEN instead")
    return given or HUB


def address(artefact: Artefact) -> str:
    """Return where to fetch an artefact: its URL, at the mirror `HF_ENDPOINT` if it is a file of the Hub.

    Raises:
        DownloadError: `HF_ENDPOINT` is not an address.
    """
    if not artefact.url.startswith(f"{HUB}/"):
        return artefact.url
    return endpoint() + artefact.url.removeprefix(HUB)


def token_for(url: str) -> str | None:
    """Return the token to send with a request to `url`, or None.

    A token goes to the Hub's own host and to no other: no host that the Hub redirects to, and not GitHub.
    If `HF_ENDPOINT` names a mirror, it is the host. Then the token of `HF_TOKEN` is sent, which stands beside
    `HF_ENDPOINT`, but not the one that a login has stored: that one is meant for huggingface.co. Without TLS
    no token leaves the machine.

    Raises:
        DownloadError: the token has letters that no token has.
    """
    there, hub = urlsplit(url), endpoint()
    safe = there.scheme == "https" or there.hostname in _LOOPBACK
    if not safe or _origin(url) != _origin(hub) or _is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN"):
        return None
    source = next((name for name in _TOKENS if os.environ.get(name, "").strip()), None)
    if source is not None:
        token = os.environ[source].strip()
    elif hub == HUB:
        path = _path("HF_TOKEN_PATH", home() / "token")
        source, token = str(path), _read(path)
    else:
        return None
    if not all("!" <= letter <= "~" for letter in token):
        raise DownloadError(f"the token of {source} has letters that no token has", "copy it again")
    return token or None


def home() -> Path:
    """Return the folder of the Hub's client: `HF_HOME`, or `huggingface` in the user's cache folder."""
    user = _path("XDG_CACHE_HOME", Path(expanded("~/.cache")))
    return _path("HF_HOME", user / "huggingface")


def cache() -> Path:
    """Return the folder of files that the Hub's client has fetched: `HF_HUB_CACHE`, or `hub` in `home()`."""
    return _path("HF_HUB_CACHE", _path("HUGGINGFACE_HUB_CACHE", home() / "hub"))


def _path(variable: str, default: Path) -> Path:
    given = os.environ.get(variable)
    return Path(os.path.expandvars(expanded(given))) if given else default


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _is_true(variable: str) -> bool:
    return os.environ.get(variable, "").upper() in _TRUE


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)

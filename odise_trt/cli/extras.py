"""Which extra of odise-trt brings a package that is missing."""

from __future__ import annotations

import re
from importlib import metadata
from importlib.util import find_spec

from ..errors import OdiseError

DISTRIBUTION = "odise-trt"
#: Import names that differ from the name of the distribution.
_DISTRIBUTIONS = {"open_clip": "open_clip_torch", "PIL": "pillow", "yaml": "pyyaml", "google": "protobuf"}
#: Packages of a checkout that no wheel holds.
TOOLKIT = ("reference", "export", "benchmarks")


def missing_package(error: ModuleNotFoundError) -> OdiseError | None:
    """The error that names the extra to install; None where the module is not of odise-trt or its extras."""
    name = (error.name or "").partition(".")[0]
    if name in TOOLKIT and find_spec(name) is None:
        return toolkit_is_missing(name)
    wanted = _normalised(_DISTRIBUTIONS.get(name, name))
    extras = _extras().get(wanted)
    if extras is None:
        return None
    if None in extras:
        return OdiseError(f"the package {name} is not installed", f"pip install {DISTRIBUTION}")
    return OdiseError(
        f"the package {name} is not installed, which this command needs",
        f'install it, in the checkout: pip install -e ".[{next(one for one in extras if one)}]"',
    )


def toolkit_is_missing(name: str) -> OdiseError:
    """That a command needs the checkout."""
    return OdiseError(
        f"this command belongs to the toolkit: the package {name} is not in the wheel",
        'run it in a checkout of the repository, after pip install -e ".[export]"',
    )


def _extras() -> dict[str, list[str | None]]:
    """Distribution -> the extras that bring it, in the order of setup.py; None: it always comes along."""
    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return {}
    found: dict[str, list[str | None]] = {}
    for requirement in requirements:
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        if name is not None:
            found.setdefault(_normalised(name[0]), []).append(extra[1] if extra else None)
    return found


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()

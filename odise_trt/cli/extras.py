"""Finds the extra of odise-trt that installs a missing package."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from ..errors import OdiseError

DISTRIBUTION = "odise-trt"
#: Import names that differ from the name of the distribution.
_DISTRIBUTIONS = {"open_clip": "open_clip_torch", "PIL": "pillow", "yaml": "pyyaml", "google": "protobuf"}
#: The commands of the checkout, as modules and as verbs, that need more packages than the export does.
_EXTRAS_OF = {
    "reference.train": "train",
    "reference.demo": "train",
    "reference.eval": "eval",
    "reference.visualize_features": "eval",
    "train": "train",
    "train-demo": "train",
    "eval": "eval",
    "features": "eval",
}
#: Packages of a checkout that are not in the wheel.
TOOLKIT = ("reference", "export", "benchmarks")


def missing_package(error: ModuleNotFoundError) -> OdiseError | None:
    """Return an error that names the extra to install, or None if the module is not of odise-trt's extras."""
    name = (error.name or "").partition(".")[0]
    if name in TOOLKIT and not toolkit_is_here(name):
        return toolkit_is_missing(name)
    wanted = _normalised(_DISTRIBUTIONS.get(name, name))
    extras = _extras().get(wanted)
    if extras is None:
        return None
    if None in extras:
        return OdiseError(f"the package {name} is not installed", f"pip install {DISTRIBUTION}")
    mine = _extra_of_this_command()
    extra = mine if mine in extras else extras[0]
    return OdiseError(
        f"the package {name} is not installed, which this command needs",
        f"install it, in the checkout: {_install(extra)}",
    )


def toolkit_is_here(name: str) -> bool:
    """Whether a package of the toolkit is beside the runtime. Another package may have the same name."""
    return (Path(__file__).resolve().parents[2] / name / "__init__.py").is_file()


def toolkit_is_missing(name: str) -> OdiseError:
    """Return the error that a command needs the checkout."""
    extra = _extra_of_this_command() or "export"
    return OdiseError(
        f"this command belongs to the toolkit: the package {name} is not in the wheel",
        f"run it in a checkout of the repository, after {_install(extra)}",
    )


def _install(extra: str | None) -> str:
    """Return the command that installs an extra, and ONNX Runtime for CPUs if there is none."""
    runtime = "" if extra == "cpu" or _has_onnxruntime() else "cpu,"
    return f'pip install -e ".[{runtime}{extra}]"'


def _has_onnxruntime() -> bool:
    try:
        return find_spec("onnxruntime") is not None
    except ImportError:
        return False
    except ValueError:  # the loaded module has no specification
        return True


def _extra_of_this_command() -> str | None:
    """Return the extra with all that a command needs, if it is another than that of the missing package."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    door = ".".join((spec.name if spec is not None else "").split(".")[:2])
    return _EXTRAS_OF.get(door) or _EXTRAS_OF.get("".join(sys.argv[1:2]))


def _extras() -> dict[str, list[str | None]]:
    """Return distribution -> extras that install it, in pyproject.toml's order. None is odise-trt itself."""
    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return {}
    found: dict[str, list[str | None]] = {}
    for name, inner, extra in map(_parts, requirements):
        if name != DISTRIBUTION:
            found.setdefault(name, []).append(extra)
            continue
        # An extra that includes another one, as `train` includes `export`, installs that one's packages too.
        for extras in found.values():
            if inner in extras:
                extras.append(extra)
    return found


def _parts(requirement: str) -> tuple[str, str | None, str | None]:
    """Return name, inner and outer of a requirement `name[inner]>=1; extra == "outer"`."""
    name = re.match(r"[\w.-]+", requirement)
    inner = re.match(r"[\w.-]+\s*\[([\w-]+)\]", requirement)
    extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
    return _normalised(name[0] if name else ""), inner[1] if inner else None, extra[1] if extra else None


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()

"""Versions of installed packages."""

from __future__ import annotations

from importlib import metadata

#: Packages that some machines have under another name. Both install the same module.
_OTHER_NAMES = {"onnxruntime": "onnxruntime-gpu"}


def package_version(name: str) -> str:
    """Return the version of a distribution, or of its alternative in `_OTHER_NAMES`.

    Raises:
        importlib.metadata.PackageNotFoundError: neither is installed.
    """
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        if name not in _OTHER_NAMES:
            raise
        try:
            return metadata.version(_OTHER_NAMES[name])
        except metadata.PackageNotFoundError:
            raise metadata.PackageNotFoundError(name) from None

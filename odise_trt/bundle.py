"""Bundles: folders of engines with a manifest, checked before use and written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Literal

import numpy as np

from .errors import BundleError, OutputError
from .manifest import CONSTANTS, MANIFEST, TOKENIZER, Manifest

Verify = Literal["full", "size"]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal; memory use does not depend on its size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_files(paths: Iterable[Path]) -> str:
    """One SHA-256 for several files, in the given order: an ONNX graph with its external data, say.

    Names count as well as contents, and no two different lists of files share a digest by concatenation.
    """
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}\0{sha256_of(path)}\n".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose files are what its manifest says.

    Attributes:
        folder: where it is.
        manifest: what it holds and how it was built.
    """

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: str | os.PathLike[str], verify: Verify = "full") -> Bundle:
        """Read a bundle's manifest and check its files; no engine is loaded.

        Args:
            folder: a bundle.
            verify: "full" hashes every file (engines are executable code, and a damaged one can give
                wrong masks without an error); "size" only looks at names and sizes, for bundles on
                storage you trust and processes that must start fast.

        Raises:
            BundleError: no bundle, a format this version does not read, or a file that is missing,
                changed or not declared; the message says which, the hint how to rebuild.
        """
        if verify not in ("full", "size"):
            raise ValueError(f"verify must be 'full' or 'size', not {verify!r}")
        bundle = cls(Path(folder), Manifest.read(Path(folder)))
        bundle._check_files(verify)
        return bundle

    def rebuild_hint(self, stage: str | None = None) -> str:
        """The command that builds this bundle, or one stage of it, again."""
        manifest = self.manifest
        command = (
            f"python export/build_engines.py --preset {manifest.preset}"
            f" --backend {manifest.backend['name']} --precision {manifest.precision}"
        )
        if source := manifest.weights.get("source"):
            command += f" --weights {source}"
        return f"rebuild it: {command}" + (f" --stage {stage}" if stage else "")

    @property
    def tokenizer(self) -> Path:
        """The tokenizer's file."""
        return self.folder / TOKENIZER

    def constants(self) -> dict[str, np.ndarray]:
        """Numbers of the model that belong to no stage, float32.

        `logit_scale` () and `clip_logit_scale` () multiply cosines; label models also have `null_embed`
        (1, D), the projected embedding of "nothing".

        Raises:
            BundleError: the file cannot be read or lacks one of them.
        """
        path = self.folder / CONSTANTS
        needed = {"logit_scale", "clip_logit_scale"}
        if self.manifest.model.kind == "label":
            needed.add("null_embed")
        try:
            with np.load(path, allow_pickle=False) as archive:
                constants = {name: archive[name] for name in archive.files}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise BundleError(f"{path} cannot be read: {error}", self.rebuild_hint()) from error
        if missing := needed - constants.keys():
            raise BundleError(f"{path} has no {', '.join(sorted(missing))}", self.rebuild_hint())
        return constants

    def _check_files(self, verify: Verify) -> None:
        declared = self.manifest.files
        self._check_names(declared)
        for name, facts in declared.items():
            path = self.folder / name
            if not path.is_file():
                raise BundleError(f"{path} is missing", self._hint_for(name))
            found = path.stat().st_size
            if found != facts["bytes"]:
                raise BundleError(
                    f"{path} was changed after it was built\n"
                    f"  expected {facts['bytes']} bytes, found {found}",
                    self._hint_for(name),
                )
        if verify == "full":
            self._check_hashes(declared)

    def _check_names(self, declared: Mapping[str, Mapping[str, object]]) -> None:
        # A manifest may come from anywhere: a name must not lead out of the bundle's folder.
        for name in declared:
            parts = PurePosixPath(name).parts
            if not parts or PurePosixPath(name).is_absolute() or ".." in parts or "\\" in name:
                raise BundleError(f"{self.folder / MANIFEST} names a file outside its bundle: {name!r}")
        for entry in self.manifest.stages:
            for name in {entry.file, *entry.files} - declared.keys():
                raise BundleError(
                    f"{self.folder / MANIFEST} has no hash for {name}", self.rebuild_hint(entry.spec.name)
                )
        for name in (CONSTANTS, TOKENIZER):
            if name not in declared:
                raise BundleError(f"{self.folder / MANIFEST} has no hash for {name}", self.rebuild_hint())

    def _check_hashes(self, declared: Mapping[str, Mapping[str, object]]) -> None:
        names = list(declared)
        try:
            with ThreadPoolExecutor() as pool:
                digests = list(pool.map(lambda name: sha256_of(self.folder / name), names))
        except OSError as error:
            raise BundleError(f"{error.filename} cannot be read: {error.strerror}") from error
        for name, digest in zip(names, digests, strict=True):
            expected = str(declared[name]["sha256"])
            if digest != expected:
                raise BundleError(
                    f"{self.folder / name} was changed after it was built\n"
                    f"  expected sha256 {expected[:12]}..., found {digest[:12]}...",
                    self._hint_for(name),
                )

    def _hint_for(self, name: str) -> str:
        stages = [entry.spec.name for entry in self.manifest.stages if name in (entry.file, *entry.files)]
        return self.rebuild_hint(stages[0] if len(stages) == 1 else None)


class BundleWriter:
    """Writes a bundle beside its final place and moves it there when it is complete.

    Use as a context manager: put the files into `folder`, the manifest last. Leaving the block normally
    replaces `target`, whose old content goes away only after the new one is in place; leaving it by an
    exception removes what was written and leaves an older bundle as it was.

    Example:
        with BundleWriter(target) as writer:
            build_into(writer.folder)
            Manifest(..., files=writer.files()).write(writer.folder)
    """

    def __init__(self, target: str | os.PathLike[str]) -> None:
        self.target = Path(os.path.abspath(target))
        self._folder: Path | None = None

    @property
    def folder(self) -> Path:
        """The unfinished bundle; only inside the `with` block."""
        if self._folder is None:
            raise RuntimeError("BundleWriter.folder exists only inside its with block")
        return self._folder

    def __enter__(self) -> BundleWriter:
        """Make the temporary folder.

        Raises:
            OutputError: the target is in use for something else, or its parent cannot be written to.
        """
        target = self.target
        if target.exists() and not (target / MANIFEST).is_file() and not _is_empty_folder(target):
            raise OutputError(
                f"{target} exists and is not a bundle; it will not be replaced",
                "choose another --output, or move it away",
            )
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
            # mkdtemp makes folders private; a bundle is as readable as anything else its builder writes.
            self._folder.chmod(0o777 & ~_umask())
        except OSError as error:
            raise OutputError(f"{target} cannot be written: {error.strerror}") from error
        return self

    def adopt(self, source: Path) -> Path:
        """Take over a finished file, from the bundle being replaced for instance.

        Hard-linked where the file system can, copied otherwise.
        """
        place = self.folder / source.name
        try:
            os.link(source, place)
        except OSError:
            shutil.copyfile(source, place)
        return place

    def files(self) -> dict[str, dict[str, object]]:
        """What the manifest says of the files written so far: name -> {"sha256", "bytes"}."""
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file() and path.name != MANIFEST)
        return {
            path.relative_to(self.folder).as_posix(): {
                "sha256": sha256_of(path),
                "bytes": path.stat().st_size,
            }
            for path in paths
        }

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        folder, self._folder = self.folder, None
        try:
            if kind is None:
                if not (folder / MANIFEST).is_file():
                    raise RuntimeError(f"no {MANIFEST} was written; {self.target} stays as it was")
                _replace(folder, self.target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _replace(folder: Path, target: Path) -> None:
    """Move `folder` to `target`; an older `target` is put back when that fails."""
    retired = folder.with_name(folder.name.replace(".partial-", ".retired-"))
    try:
        if target.exists():
            target.rename(retired)
        try:
            folder.rename(target)
        except OSError:
            if retired.exists():
                retired.rename(target)
            raise
    except OSError as error:
        raise OutputError(f"{target} cannot be replaced: {error.strerror}") from error
    shutil.rmtree(retired, ignore_errors=True)


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _umask() -> int:
    # The only way to read it is to set it.
    mask = os.umask(0)
    os.umask(mask)
    return mask

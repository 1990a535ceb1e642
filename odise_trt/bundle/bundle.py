"""Bundles: folders of engines with a manifest, checked before use, and written whole or not at all."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Literal

import numpy as np

from ..backends.registry import BACKENDS
from ..errors import ArgumentError, BundleError, OutputError, hint_for, reason
from ..files.exchange import exchange
from ..files.paths import Kind, expanded, kind_of
from ..files.writing import flush, writing
from .manifest import CONSTANTS, MANIFEST, TOKENIZER, Manifest
from .place import PARTIAL, RETIRED, carry_over, make_parent, real_place
from .rebuild import rebuild_command

Verify = Literal["full", "size"]


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal. Memory use is independent of the file size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_files(paths: Iterable[Path], known: Mapping[str, str] | None = None) -> str:
    """Return one SHA-256 for several files in the given order, such as an ONNX graph and its external data.

    The digest covers names and contents. Different lists of files cannot get one digest by concatenation.

    Args:
        paths: the files.
        known: file name -> its SHA-256. These files are not read.
    """
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}\0{(known or {}).get(path.name) or sha256_of(path)}\n".encode())
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
        """Read a bundle's manifest and check its files. No engine is loaded.

        Args:
            folder: a bundle.
            verify: "full" hashes every file. Engines are executable code, and a damaged one can give wrong
                masks without an error. "size" checks only names and sizes. It is for bundles on trusted
                storage and for processes that must start fast.

        Raises:
            ArgumentError: `verify` has another value.
            BundleError: the folder is no bundle, this version does not read its format, or files are missing,
                changed or not declared. The message names them all, the hint says how to rebuild them.
        """
        if verify not in ("full", "size"):
            raise ArgumentError(f"verify must be 'full' or 'size', not {verify!r}")
        if not isinstance(folder, str | os.PathLike) or not os.fspath(folder):
            raise BundleError(f"a bundle is named by its folder, not by {folder!r:.80}", "give a path")
        place = Path(expanded(os.fsdecode(folder)))
        bundle = cls(place, Manifest.read(place))
        if damage := bundle.damage(verify=verify):
            raise BundleError("\n".join(damage.values()), bundle.repair_hint(damage))
        return bundle

    def damage(self, stages: Iterable[str] | None = None, verify: Verify = "full") -> dict[str, str]:
        """Return the files that differ from the manifest: name -> what is wrong. Empty if there are none.

        Args:
            stages: check only the files of these stages.
            verify: see `open`.
        """
        needed = {entry.spec.name: (*entry.files, entry.file) for entry in self.manifest.stages}
        if stages is None:
            chosen = [*self.manifest.files, CONSTANTS, TOKENIZER, *itertools.chain(*needed.values())]
        else:
            chosen = [name for stage in stages for name in needed[stage]]
        names = list(dict.fromkeys(chosen))
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(lambda name: self._damage_of(name, verify), names))
        return {name: wrong for name, wrong in zip(names, found, strict=True) if wrong is not None}

    def stages_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the stages that these files belong to. Some files, such as the tokenizer, belong to none."""
        files = set(names)
        return tuple(e.spec.name for e in self.manifest.stages if not files.isdisjoint((e.file, *e.files)))

    @property
    def has_graphs_only(self) -> bool:
        """Whether its engines are still to be built, on the machine that they are for (`--onnx-only`)."""
        entry = BACKENDS.get(str(self.manifest.backend["name"]))
        if entry is None or "version" in self.manifest.backend:
            return False
        return any(not one.file.endswith(entry.suffix) for one in self.manifest.stages)

    def rebuild_hint(self) -> str:
        """Return the command that builds this bundle for the machine it runs on."""
        # A processor gets no arithmetic from a new build.
        precision = "fp32" if self.manifest.backend.get("arithmetic") else None
        return f"rebuild it: {rebuild_command(self.folder, self.manifest, precision=precision)}"

    def repair_hint(self, names: Iterable[str] = ()) -> str:
        """Return the command that builds this bundle again, or only the stages that these files belong to."""
        # Every build writes the files that belong to no stage, even the build of a single stage.
        stages = self.stages_of(names)
        command = rebuild_command(self.folder, self.manifest, stages, same_gpus=True)
        return f"rebuild it: {command}{' --onnx-only' if self.has_graphs_only else ''}"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer's file."""
        return self.folder / TOKENIZER

    def constants(self) -> dict[str, np.ndarray]:
        """Read the constants of the model that belong to no stage, float32.

        `logit_scale` () and `clip_logit_scale` () multiply cosines. Label models also have `null_embed`
        (1, D), the projected embedding of "nothing".

        Raises:
            BundleError: the file cannot be read or lacks a constant, or a constant has another shape or kind
                or is not finite.
        """
        path = self.folder / CONSTANTS
        shapes: dict[str, tuple[int, ...]] = {"logit_scale": (), "clip_logit_scale": ()}
        if self.manifest.model.kind == "label":
            shapes["null_embed"] = (1, self.manifest.model.mask_embed_dim)
        try:
            # numpy leaves a file that it cannot read open.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                constants = {name: np.asarray(archive[name]) for name in archive.files if name in shapes}
        except OSError as error:
            raise BundleError(f"{path} cannot be read: {reason(error)}", self.repair_hint()) from error
        except Exception as error:  # damage can surface as nearly anything in zipfile and numpy
            raise BundleError(f"{path} cannot be read: {error}", self.repair_hint()) from error
        if missing := shapes.keys() - constants.keys():
            raise BundleError(f"{path} has no {', '.join(sorted(missing))}", self.repair_hint())
        for name, array in constants.items():
            if wrong := _misfit(array, shapes[name]):
                raise BundleError(f"{path}: {name} {wrong}", self.repair_hint())
        return constants

    def _damage_of(self, name: str, verify: Verify) -> str | None:
        path = self.folder / name
        parts = PurePosixPath(name).parts
        # A manifest may come from an untrusted source. A name must not lead out of the bundle's folder.
        if not parts or PurePosixPath(name).is_absolute() or ".." in parts or "\\" in name:
            return f"{self.folder / MANIFEST} names a file outside its bundle: {name!r}"
        declared = self.manifest.files.get(name)
        if declared is None:
            return f"{self.folder / MANIFEST} has no hash for {name}"
        there = kind_of(path)
        if not there.is_file:
            if there.kind is Kind.NOTHING:
                return f"{path} is missing"
            why = f": {there.why}" if there.why else ""
            return f"{path} is {there.kind}, not a file{why}"
        changed = f"{path} was changed after it was built\n  expected"
        try:
            expected, found = declared["bytes"], path.stat().st_size
            if found != expected:
                return f"{changed} {expected} bytes, found {found}"
            if verify == "size":
                return None
            digest = sha256_of(path)
        except OSError as error:
            hint = hint_for(error)
            return f"{path} cannot be read: {reason(error)}" + (f" ({hint})" if hint else "")
        if digest != declared["sha256"]:
            return f"{changed} sha256 {declared['sha256'][:12]}..., found {digest[:12]}..."
        return None


def _misfit(array: np.ndarray, shape: tuple[int, ...]) -> str | None:
    if array.dtype != np.float32:
        return f"is {array.dtype}, not float32"
    if array.shape != shape:
        return f"has shape {array.shape}, not {shape}"
    return None if np.isfinite(array).all() else "is not finite"


class BundleWriter:
    """Writes a bundle beside its final place and moves it there when it is complete.

    It is a context manager. Put the files into `folder`, the manifest last. Leaving the block normally
    replaces `target`. The old content is removed only after the new one is in place. Files that the user
    added to the old bundle stay. After an exception, what was written is removed and the older bundle stays
    as it was.

    Two writers of one target do not wait for each other. `export.exclusive` makes builds wait.

    Attributes:
        target: the bundle's real place. If it is a link to a folder, this is that folder.

    Raises:
        OutputError: the target is a broken link.

    Example:
        with BundleWriter(target) as writer:
            build_into(writer.folder)
            Manifest(..., files=writer.files()).write(writer.folder)
    """

    def __init__(self, target: str | os.PathLike[str]) -> None:
        self.target = real_place(target)
        self._folder: Path | None = None

    @property
    def folder(self) -> Path:
        """The folder of the unfinished bundle. It exists only inside the `with` block."""
        if self._folder is None:
            raise RuntimeError("BundleWriter.folder exists only inside its with block")
        return self._folder

    def __enter__(self) -> BundleWriter:
        """Make the temporary folder.

        Raises:
            OutputError: the target is in use for something else, or its parent cannot be written to.
        """
        target = self.target
        with writing(target):
            if target.exists() and not (target / MANIFEST).is_file() and not _is_empty_folder(target):
                raise OutputError(
                    f"{target} exists and is not a bundle; it will not be replaced",
                    "choose another --output, or move it away",
                )
            make_parent(target)
            self._folder = Path(tempfile.mkdtemp(prefix=f".{target.name}{PARTIAL}", dir=target.parent))
            # mkdtemp makes private folders. A bundle gets the usual permissions of its builder instead.
            self._folder.chmod(0o777 & ~_umask())
        return self

    def adopt(self, source: Path) -> Path:
        """Add a finished file, for example from the bundle that is being replaced.

        The file is hard-linked if the file system supports it, and copied otherwise.

        Raises:
            OutputError: the file can be neither linked nor copied.
        """
        place = self.folder / source.name
        try:
            os.link(source, place)
        except OSError:
            with writing(self.target / source.name):
                shutil.copyfile(source, place)
        return place

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """Give the path to write the file `name` to, for the duration of the block.

        Raises:
            OutputError: the file cannot be written. The message names the final place of the file.
        """
        with writing(self.target / name):
            yield self.folder / name

    def files(self, known: Mapping[str, str] | None = None) -> dict[str, dict[str, object]]:
        """Return the manifest's record of the files written so far: name -> {"sha256", "bytes"}.

        Args:
            known: file name -> its SHA-256, if it was computed already. These files are not read.
        """
        known = known or {}
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file() and path.name != MANIFEST)
        return {
            path.relative_to(self.folder).as_posix(): {
                "sha256": known.get(path.relative_to(self.folder).as_posix()) or sha256_of(path),
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
                with writing(self.target):
                    carry_over(self.target, folder)
                _replace(folder, self.target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _replace(folder: Path, target: Path) -> None:
    """Move `folder` to `target`. If that fails or is interrupted, an older `target` is put back."""
    retired = folder.with_name(folder.name.replace(PARTIAL, RETIRED))
    with writing(target):
        flush(folder)
        # The caller removes the folder, which is the older bundle then.
        if target.exists() and exchange(folder, target):
            return
        # No bundle exists between these two renames. A build that finds that puts the older one back.
        try:
            if target.exists():
                target.rename(retired)
            folder.rename(target)
        except BaseException:
            if retired.exists() and not target.exists():
                retired.rename(target)
            raise
    shutil.rmtree(retired, ignore_errors=True)


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _umask() -> int:
    # The umask can only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask

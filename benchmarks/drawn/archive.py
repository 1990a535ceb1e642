"""Bundles to archives without weights, and back."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import onnx

from odise_trt.bundle import Bundle, BundleWriter
from odise_trt.bundle.bundle import sha256_of_files
from odise_trt.bundle.manifest import MANIFEST, Manifest
from odise_trt.errors import BundleError
from odise_trt.files.writing import write_file

from .recipe import Drawn, fill, strip

_RECIPES = "recipes.json"


def pack(folder: Path, target: Path) -> int:
    """Write a bundle as `.tar.xz`, without the numbers of its large tensors. Return the bytes of the archive.

    Raises:
        BundleError: its engines are no ONNX files.
        OutputError: the archive cannot be written.
    """
    bundle = Bundle.open(folder, verify="size")
    graphs = {entry.file for entry in bundle.manifest.stages}
    if not all(name.endswith(".onnx") for name in graphs):
        raise BundleError(
            f"{folder} has engines that are no ONNX files", "pack the bundle of graphs they were built from"
        )
    others = [
        name for name in bundle.manifest.files if name not in graphs and not name.endswith(".onnx.data")
    ]
    recipes = {}
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:xz", preset=6) as archive:
        for name in sorted(graphs):
            model, drawn = strip(folder / name)
            recipes[name] = [one.to_json() for one in drawn]
            _add(archive, name, model.SerializeToString())
        _add(archive, _RECIPES, json.dumps(recipes).encode())
        for name in (*others, MANIFEST):
            _add(archive, name, (folder / name).read_bytes())
    write_file(target, content.getvalue())
    return len(content.getvalue())


def unpack(source: Path, target: Path) -> None:
    """Make a bundle of an archive that `pack` wrote. Its large weights are drawn.

    Raises:
        BundleError: it is no such archive.
        OutputError: the bundle cannot be written.
    """
    with BundleWriter(target) as writer:
        contents = _read(source)
        try:
            recipes = json.loads(contents.pop(_RECIPES))
            manifest_bytes = contents.pop(MANIFEST)
        except (KeyError, ValueError) as error:
            raise BundleError(f"{source} is no packed bundle: {error}", "odise-trt bench pack") from error
        (writer.folder / MANIFEST).write_bytes(manifest_bytes)
        manifest = Manifest.read(writer.folder)
        files: dict[str, tuple[Path, ...]] = {}
        for name, content in contents.items():
            with writer.file(name) as path:
                if name in recipes:
                    drawn = {
                        one["name"]: Drawn(**one | {"shape": tuple(one["shape"])}) for one in recipes[name]
                    }
                    files[name] = fill(onnx.ModelProto.FromString(content), drawn, path)
                else:
                    path.write_bytes(content)
        stages = tuple(
            replace(
                entry,
                files=tuple(path.name for path in files[entry.file]),
                onnx_sha256=sha256_of_files(files[entry.file]),
            )
            for entry in manifest.stages
        )
        weights = {
            "source": f"drawn like {manifest.weights['source']}",
            "sha256": manifest.weights["sha256"],
            "seeded": True,
        }
        # Comparisons were of the other numbers.
        replace(manifest, stages=stages, weights=weights, parity=(), files=writer.files()).write(
            writer.folder
        )


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def _read(source: Path) -> dict[str, bytes]:
    """Return the files of an archive by name. A name never becomes a path outside the bundle."""
    found = {}
    try:
        with tarfile.open(source, "r:xz") as archive:
            for entry in archive:
                file = archive.extractfile(entry)
                if file is None or Path(entry.name).name != entry.name:
                    raise BundleError(f"{source} has an entry that is no plain file: {entry.name!r}")
                found[entry.name] = file.read()
    except (OSError, tarfile.TarError, EOFError) as error:
        raise BundleError(f"{source} cannot be read: {error}", "odise-trt bench pack") from error
    return found

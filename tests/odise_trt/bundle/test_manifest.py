"""A manifest that was edited by hand is read, or refused with the field that is wrong."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from odise_trt import Segmenter
from odise_trt.bundle import Bundle
from odise_trt.bundle.manifest import MANIFEST, Manifest
from odise_trt.cli import app
from odise_trt.errors import BundleError, OdiseError
from odise_trt.files.typed_json import MisfitError, read_as
from odise_trt.stage_spec import StageSpec
from tests.odise_trt import toy_bundle


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle.make(tmp_path_factory.mktemp("engines") / "toy")


@pytest.fixture
def written(toy: Path) -> Iterator[dict[str, Any]]:
    """The manifest as it is; put back afterwards."""
    text = (toy / MANIFEST).read_text()
    yield json.loads(text)
    (toy / MANIFEST).write_text(text)


def put(data: Any, place: tuple[str | int, ...], value: Any) -> Any:
    data = copy.deepcopy(data)
    inside = data
    for step in place[:-1]:
        inside = inside[step]
    inside[place[-1]] = value
    return data


def places(data: Any, here: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if here:
        yield here
    steps = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for step, inside in steps:
        yield from places(inside, (*here, step))


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


_STRANGE = (
    None,
    True,
    0,
    -1,
    2,
    3.5,
    1e308,
    float("nan"),
    float("-inf"),
    10**40,
    10**400,
    "",
    "x",
    "height/0",
    "side/4",
    "a {} {} {",
    "{0.__class__}",
    "../x",
    "a\0b",
    "x" * 5000,
    "\ud83d",
    "[/bold] [red]",
    [],
    {},
    [1, 2, 3],
    [[None]],
    {"a": 1},
    nested(200),
)


def test_no_change_of_a_manifest_gives_an_error_of_another_kind(toy: Path, written: dict) -> None:
    draw = random.Random(9)
    everywhere = list(places(written))
    opened = 0
    for _ in range(1500):
        place, value = draw.choice(everywhere), draw.choice(_STRANGE)
        (toy / MANIFEST).write_text(json.dumps(put(written, place, value)))
        with suppress(OdiseError):
            Bundle.open(toy, verify="size")
            opened += 1
            # What looks well goes all the way now and then; that takes its time.
            if opened % 30 == 0:
                with Segmenter.open(toy, vocabulary="red", cache=False, verify="size", threads=1):
                    pass
    assert 100 < opened < 1400


def test_whatever_a_manifest_says_inspect_prints_it_or_says_what_is_wrong(toy: Path, written: dict) -> None:
    draw = random.Random(10)
    everywhere = list(places(written))
    for _ in range(60):
        place, value = draw.choice(everywhere), draw.choice(_STRANGE)
        (toy / MANIFEST).write_text(json.dumps(put(written, place, value)))
        for option in ("--json", "--no-verify"):
            result = CliRunner().invoke(app, ["inspect", str(toy), option])
            assert result.exception is None or isinstance(result.exception, OdiseError | SystemExit)


def test_removed_and_unknown_fields_are_named(toy: Path, written: dict) -> None:
    for place in places(written):
        if isinstance(place[-1], str):
            data = copy.deepcopy(written)
            inside = data
            for step in place[:-1]:
                inside = inside[step]
            del inside[place[-1]]
            inside["new"] = 1
            (toy / MANIFEST).write_text(json.dumps(data))
            with suppress(BundleError):
                Bundle.open(toy, verify="size")
    (toy / MANIFEST).write_text(json.dumps({**written, "presett": "demo"}))
    with pytest.raises(BundleError, match="has a field that is not known: 'presett'"):
        Bundle.open(toy)


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (("model", "window"), "128", r"model\.window must be a whole number, it is '128'"),
        (("model", "window"), True, r"model\.window must be a whole number, it is True"),
        (("model", "window"), 0, r"model\.window must be 1 to"),
        (("model", "alpha"), float("nan"), r"model\.alpha must be 0 to 1, it is nan"),
        (("model", "kind"), "labels", r"model\.kind must be label or caption"),
        (("model", "clip_prompt"), "a photo", r"model\.clip_prompt must have {} once"),
        (("model", "category_prompt"), 3, r"model\.category_prompt must be a text, it is 3"),
        (("model", "train_labels"), [["a"], "b"], r"model\.train_labels\[1\] must be a list, it is 'b'"),
        (("model", "train_labels", 0, 0), None, r"model\.train_labels\[0\]\[0\] must be a text, it is null"),
        (("stages", 1, "file"), 7, r"stages\[1\]\.file must be a text, it is 7"),
        (
            ("stages", 0, "spec", "axes", 0, "maximum"),
            1e9,
            r"stages\[0\]\.spec\.axes\[0\]\.maximum must be a",
        ),
        (
            ("stages", 0, "spec", "axes", 0, "name"),
            "w",
            "captioner has windows with 'windows', which is no axis",
        ),
        (("stages", 0, "spec", "inputs", 0, "dtype"), "float8", "must be float32 or float16 or int64"),
        (("stages", 0, "spec", "inputs", 0, "dtype"), "compute", "dtype 'compute'"),
        (("stages", 4, "spec", "profiles", 0, "ranges", "texts"), [1, 2], "must have 3 values, it has 2"),
        (("stages", 1, "spec", "name"), "captioner", r"stages\[1\] is 'captioner' for the second time"),
        (
            ("stages", 1, "weights_from"),
            "x.onnx",
            r"stages\[1\] takes weights from 'x\.onnx', which is none of its files",
        ),
        (("stages", 1, "weights_from"), "", r"stages\[1\] takes weights from '', which is none"),
        (("stages", 1, "weights_from"), 3, r"stages\[1\]\.weights_from must be a text"),
        (("backend",), {"version": "1"}, "backend has no name"),
        (("backend", "compatible"), ["gpu"], "backend is wrong: compatible"),
        (("backend", "name"), 3, "backend is wrong: name must be a text"),
        (("weights",), [], "weights must be a mapping, it is a list"),
        (("precision",), "int4", "precision must be fp32 or fp16"),
        (
            ("files", "constants.npz", "bytes"),
            "1",
            r"files\['constants\.npz'\] is wrong: bytes must be a whole",
        ),
        (("parity",), None, "parity must be a list, it is null"),
        (("precision_map",), {"a": nested(200)}, "nested too deeply"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(toy: Path, written: dict, place, value, says: str) -> None:
    (toy / MANIFEST).write_text(json.dumps(put(written, place, value)))
    with pytest.raises(BundleError, match=says):
        Segmenter.open(toy)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"null",
        b"[]",
        b"7",
        b"[" * 100_000,
        b'{"format": 1}',
        b'{"format": true}',
        b"9" * 5000,
    ],
)
def test_a_file_that_is_no_manifest_is_a_bundle_error(toy: Path, written: dict, content: bytes) -> None:
    (toy / MANIFEST).write_bytes(content)
    with pytest.raises(BundleError):
        Bundle.open(toy)


def test_an_editor_may_leave_a_byte_order_mark(toy: Path, written: dict) -> None:
    (toy / MANIFEST).write_bytes(b"\xef\xbb\xbf" + json.dumps(written).encode())
    assert Manifest.read(toy).preset == "toy"


def test_what_is_written_is_read_back_the_same(toy: Path, tmp_path: Path) -> None:
    manifest = Manifest.read(toy)
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path) == manifest


def test_a_declaration_is_read_back_or_refused() -> None:
    for spec in toy_bundle.specs():
        assert read_as(StageSpec, json.loads(json.dumps(asdict(spec)))) == spec
        with pytest.raises(MisfitError, match="name is missing"):
            read_as(StageSpec, {})

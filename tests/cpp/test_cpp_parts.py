"""Parts of libodise_trt give what Python gives, bit for bit."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from odise_trt import Bundle, OdiseError, Segmenter, Vocabulary
from odise_trt.bundle.manifest import MANIFEST
from odise_trt.chains.vectors import PictureSize, picture_tensors, vocabulary_tensors
from odise_trt.preprocess import resize_shortest
from odise_trt.text_table import TextTable, unit
from reference.scenes import SCENE_VOCABULARY

pytestmark = pytest.mark.slow


class Probe:
    """`odise_probe` of a build."""

    def __init__(self, build: Path) -> None:
        self.program = build / "tests" / "odise_probe"

    def __call__(self, *words: object, data: bytes = b"") -> bytes:
        done = subprocess.run([self.program, *map(str, words)], input=data, capture_output=True)
        assert done.returncode in (0, 1), done.stderr
        return done.stdout

    def tensors(self, *words: object) -> dict[str, np.ndarray]:
        answer, at, found = self(*words), 0, {}
        while at < len(answer):
            end = answer.index(b"\n", at)
            name, dtype, *sizes = answer[at:end].decode().split()
            shape = tuple(map(int, sizes))
            count = int(np.prod(shape)) * np.dtype(dtype).itemsize
            found[name] = np.frombuffer(answer[end + 1 : end + 1 + count], dtype).reshape(shape)
            at = end + 1 + count
        return found


@pytest.fixture(scope="module")
def probe(build: Path) -> Probe:
    return Probe(build)


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        assert found[name].tobytes() == np.ascontiguousarray(array).tobytes(), name


def sizes() -> Iterator[tuple[int, int]]:
    yield from (
        (1, 1),
        (1, 700),
        (700, 1),
        (3, 5),
        (256, 256),
        (256, 640),
        (400, 600),
        (1080, 1920),
        (257, 255),
    )
    numbers = random.Random(15)
    for _ in range(60):
        yield numbers.randint(1, 900), numbers.randint(1, 900)


def test_pictures_are_resized_as_pillow_does_it(probe: Probe) -> None:
    generator = np.random.default_rng(0)
    for height, width in sizes():
        pixels = generator.integers(0, 256, (height, width, 3), np.uint8)
        for short, most in ((256, 640), (1024, 2560)) if height * width < 2**16 else ((256, 640),):
            head, _, body = probe("resize", height, width, short, most, data=pixels.tobytes()).partition(
                b"\n"
            )
            expected = resize_shortest(pixels, short, most)
            assert tuple(map(int, head.split())) == expected.shape[:2], (height, width)
            assert body == expected.tobytes(), (height, width, short)


def test_a_picture_of_extremes_is_resized_as_pillow_does_it(probe: Probe) -> None:
    # Sums of weights that do not quite add up to one show on white and black.
    pixels = np.zeros((333, 517, 3), np.uint8)
    pixels[::2] = 255
    pixels[100:200, :, 1] = 255
    body = probe("resize", 333, 517, 101, 640, data=pixels.tobytes()).partition(b"\n")[2]
    small = Image.fromarray(pixels).resize((157, 101), Image.Resampling.BILINEAR)
    assert body == np.asarray(small).tobytes()


def test_the_vectors_of_a_picture_are_those_of_python(probe: Probe) -> None:
    numbers = random.Random(7)
    for window, clip, most in ((128, 168, 640), (512, 336, 2560)):
        for _ in range(12):
            height, width = numbers.randint(1, most), numbers.randint(1, most)
            padded = height + -height % 64, width + -width % 64
            out = numbers.randint(1, 1500), numbers.randint(1, 1500)
            found = probe.tensors("vectors", height, width, *padded, *out, window, clip)
            size = PictureSize((height, width), padded, out, window, clip)
            assert_equal(found, picture_tensors(size))


def test_the_vectors_of_a_vocabulary_are_those_of_python(
    probe: Probe, segmenter: Segmenter, tmp_path: Path
) -> None:
    words = Vocabulary.parse("cat, kitten, sky; boat; a very red car; café") + SCENE_VOCABULARY
    segmenter.vocabulary = words.with_flags(None, "boat")
    table, model = segmenter._table, segmenter.bundle.manifest.model
    assert table is not None
    found = probe.tensors("vocabulary", segmenter.bundle.folder, segmenter.save_table(tmp_path / "words.npz"))
    assert_equal(found, vocabulary_tensors(table, model.alpha, model.beta))


@pytest.mark.parametrize("width", [1, 7, 8, 64, 127, 128, 129, 256, 768, 1000])
def test_rows_get_length_one_as_numpy_does_it(
    width: int, probe: Probe, bundle: Path, tmp_path: Path, segmenter: Segmenter
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(bundle, folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["model"]["mask_embed_dim"] = manifest["model"]["clip_dim"] = width
    (folder / MANIFEST).write_text(json.dumps(manifest))
    segmenter.vocabulary = "cat; dog, puppy; boat"
    rows = np.random.default_rng(width).normal(size=(2, 4, width)).astype(np.float32)
    rows[:, 1] = 0
    assert segmenter._table is not None
    table: TextTable = replace(segmenter._table, text_embed=rows[0], clip_text_embed=rows[1])
    segmenter._table = table
    found = probe.tensors("vocabulary", folder, segmenter.save_table(tmp_path / "words.npz"))
    assert found["vocabulary.text_embed"].tobytes() == unit(rows[0]).tobytes()
    assert found["vocabulary.clip_text_embed"].tobytes() == unit(rows[1]).tobytes()


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "a bundle"
    shutil.copytree(bundle, folder)
    return folder


def said_by_python(folder: Path) -> str:
    try:
        Bundle.open(folder)
    except OdiseError as error:
        return f"{error.message}\n{error.hint or ''}\n"
    return "opened\n"


def assert_the_same_words(probe: Probe, folder: Path) -> None:
    expected = said_by_python(folder)
    assert expected != "opened\n"
    assert probe("open", folder).decode() == "4\n" + expected


CHANGES = {
    "format": 2,
    "precision": "int4",
    "preset": 7,
    "weights": {"source": 3},
    "backend": {},
    "backend.compatible": ["gpu"],
    "model.alpha": 2,
    "model.divisor": 33,
    "model.short_side": 0,
    "model.clip_prompt": "a photo",
    "model.kind": None,
    "model.train_labels": [["cat"], "dog"],
    "stages.0.file": "../cut.onnx",
    "stages.0.spec.inputs.0.shape": ["picture_height", 2.5],
    "stages.0.spec.inputs.0.dtype": "float64",
    "stages.0.spec.axes.0.minimum": 10**6,
    "stages.0.spec.profiles.0.ranges": {"windows": [1, 2]},
    "stages.0.spec.name": "captioner",
    "stages.0.build_seconds": "long",
    "stages.0.weights_from": "",
    "stages.1.weights_from": 7,
    "stages.0.peak_memory_bytes": 10**30,
    "files": {"cut.onnx": {"sha256": "", "bytes": 1.5}},
    "parity": [{}],
    "parity.0.sizes": {"windows": 1.0},
    "precision_map": 3,
    "tools": {"opset": 21},
    "created": None,
    "pipeline.1.inputs": {"windows": "cut.nothing"},
    "pipeline.1.repeat": "columns",
    "pipeline.1.stage": "cut",
    "pipeline.2.stage": "dog",
    "pipeline.4.inputs": {"s2": "stitch.s2"},
    "pipeline.7.carried": {"whole": "column_counts_so_far"},
    "pipeline.9.tasks": [],
    "more": 1,
}


@pytest.mark.parametrize("place", CHANGES)
def test_a_manifest_that_no_build_writes_is_refused_in_the_same_words(
    place: str, probe: Probe, copy: Path
) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    *way, last = (int(part) if part.isdigit() else part for part in place.split("."))
    inner = manifest
    for part in way:
        inner = inner[part]
    inner[last] = CHANGES[place]
    (copy / MANIFEST).write_text(json.dumps(manifest))
    assert_the_same_words(probe, copy)


def test_damaged_files_are_named_in_the_same_words(probe: Probe, copy: Path) -> None:
    assert probe("open", copy) == b"opened\n"
    (copy / "cut.onnx").unlink()
    (copy / "cut.onnx").mkdir()
    (copy / "paint.onnx").unlink()
    (copy / "stitch.onnx").write_bytes(b"short")
    content = bytearray((copy / "features.onnx").read_bytes())
    content[1000] ^= 1
    (copy / "features.onnx").write_bytes(content)
    assert_the_same_words(probe, copy)


def test_the_command_that_builds_again_has_the_same_options(probe: Probe, copy: Path) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["tools"] |= {
        "image-sizes": "640x480",
        "max-windows": "2",
        "calibration": "my pictures",
        "opset": "22",
    }
    (copy / MANIFEST).write_text(json.dumps(manifest))
    (copy / "paint.onnx").unlink()
    assert "--image-sizes 640x480" in said_by_python(copy)
    assert_the_same_words(probe, copy)
    # Graphs that a TensorRT builds engines from, elsewhere.
    (entry,) = (one for one in manifest["stages"] if one["file"] == "paint.onnx")
    entry["file"] = "paint.graph"
    (copy / MANIFEST).write_text(json.dumps(manifest).replace('"paint.onnx"', '"paint.graph"'))
    assert said_by_python(copy).endswith(" --onnx-only\n")
    assert_the_same_words(probe, copy)


def test_manifests_that_are_cut_off_are_refused_in_the_same_words(probe: Probe, copy: Path) -> None:
    whole = (copy / MANIFEST).read_bytes()
    for size in (0, 1, 100, 1000, 5000, len(whole) - 2):
        (copy / MANIFEST).write_bytes(whole[:size])
        assert_the_same_words(probe, copy)


def test_what_is_no_bundle_is_named_in_the_same_words(probe: Probe, copy: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    places = (tmp_path, tmp_path / "file", tmp_path / "empty", tmp_path / "nothing", tmp_path / "file" / "x")
    for place in places:
        assert_the_same_words(probe, place)


def test_a_bundle_that_was_cut_by_chance_gives_the_same_words(probe: Probe, copy: Path) -> None:
    whole = (copy / MANIFEST).read_text()
    numbers = random.Random(3)
    for _ in range(60):
        at = numbers.randrange(len(whole))
        (copy / MANIFEST).write_text(whole[:at] + numbers.choice('"{}[],:0x') + whole[at + 1 :])
        expected = said_by_python(copy)
        found = probe("open", copy).decode()
        assert found == (expected if expected == "opened\n" else "4\n" + expected)

"""What people get wrong when they use it from Python for the first time works, or says how."""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from odise_trt import BackendError, BundleError, ImageError, Segmenter, Vocabulary, VocabularyError
from odise_trt.bundle import Bundle
from odise_trt.errors import ArgumentError, OutputError
from odise_trt.preprocess import load_image
from tests.odise_trt import toy_bundle

PICTURE = np.zeros((40, 50, 3), np.uint8)
PICTURE[:, :, 0] = 255


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle.make(tmp_path_factory.mktemp("engines") / "toy")


@pytest.fixture(scope="module")
def opened(toy: Path):
    with Segmenter.open(toy, vocabulary="red; green", cache=False) as segmenter:
        yield segmenter


# Vocabularies


@pytest.mark.parametrize(
    "vocabulary",
    [
        "red, crimson; green",
        ["red, crimson", "green"],
        [["red", "crimson"], "green"],
        (["red", "crimson"], ["green"]),
        [{"name": "red", "names": ["crimson"]}, {"name": "green"}],
        Vocabulary.parse("red, crimson; green"),
        iter(["red, crimson", "green"]),
    ],
)
def test_a_vocabulary_is_set_to_whatever_says_what_to_look_for(opened: Segmenter, vocabulary) -> None:
    opened.vocabulary = vocabulary

    assert opened.vocabulary == Vocabulary.parse("red, crimson; green")
    assert [segment.name for segment in opened(PICTURE).segments] == ["red"]


def test_a_bundle_is_opened_with_words_a_list_or_a_file(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("red\ngreen\n")
    for vocabulary in ("red; green", ["red", "green"], tmp_path / "words.txt", str(tmp_path / "words.txt")):
        with Segmenter.open(toy, vocabulary=vocabulary, cache=False) as segmenter:
            assert segmenter.vocabulary is not None
            assert segmenter.vocabulary.names == ("red", "green")


@pytest.mark.parametrize("name", ["vocab", "classes", "prompt", "vocabularies"])
def test_an_attribute_that_does_not_exist_cannot_be_set(opened: Segmenter, name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        setattr(opened, name, "red")


@pytest.mark.parametrize(
    "wrong", [None, 7, 1.5, b"red", {"red", "green"}, [], "", [""], [3], object(), [None]]
)
def test_anything_else_is_an_error_that_leaves_the_vocabulary_as_it_was(opened: Segmenter, wrong) -> None:
    opened.vocabulary = "red"
    with pytest.raises(VocabularyError):
        opened.vocabulary = wrong
    assert opened.vocabulary is not None
    assert opened.vocabulary.names == ("red",)


def test_a_wrong_vocabulary_is_found_before_the_bundle_is_looked_at(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError):
        Segmenter.open(tmp_path, vocabulary=7)


# Pictures


def test_open_files_of_every_kind_are_pictures(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(PICTURE).save(path)
    written = io.BytesIO()
    Image.fromarray(PICTURE).save(written, "PNG")  # at its end, as it is after saving

    class Stream:
        """No more than `read`, as of a response of the web."""

        def __init__(self) -> None:
            self._file = io.BytesIO(path.read_bytes())

        def read(self, size: int = -1) -> bytes:
            return self._file.read(size)

    with path.open("rb") as file, path.open("rb", buffering=0) as unbuffered:
        for source in (file, unbuffered, written, Stream(), memoryview(path.read_bytes()), path):
            np.testing.assert_array_equal(load_image(source), PICTURE)


def test_arrays_of_other_kinds_are_pictures() -> None:
    for array in (np.asmatrix(PICTURE[:, :, 0]), np.ma.masked_array(PICTURE[:, :, 0]), PICTURE[:, :, 0]):
        read = load_image(array)
        assert type(read) is np.ndarray
        np.testing.assert_array_equal(read, np.full((40, 50, 3), 255))


def test_a_path_may_be_given_as_bytes_by_its_object(opened: Segmenter, tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "photo.png")

    class Place:
        def __fspath__(self) -> bytes:
            return os.fsencode(tmp_path / "photo.png")

    opened.vocabulary = "red"
    np.testing.assert_array_equal(opened(Place()).image, PICTURE)


def closed(image: Image.Image) -> Image.Image:
    image.close()
    return image


def closed_file(data: bytes) -> io.BytesIO:
    file = io.BytesIO(data)
    file.close()
    return file


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (None, "cv2.imread"),
        ([PICTURE, PICTURE], "one image at a time"),
        (["a.jpg"], "one image at a time"),
        (3, "give a path"),
        (True, "give a path"),
        ({"image": "a.jpg"}, "give a path"),
        (io.StringIO("text"), 'open(path, "rb")'),
        (closed_file(b"x"), "closed"),
        (closed(Image.fromarray(PICTURE)), "was closed"),
        (b"", "empty"),
        ("", "path of the image is empty"),
        ("https://example.com/a.jpg", "download it first"),
        ("s3://bucket/a.jpg", "download it first"),
        ("file:///tmp/my%20photo.jpg", "give the path: /tmp/my photo.jpg"),
        (PICTURE.astype(">u2"), "16 bits"),
        ("a\0b.jpg", "null byte"),
        ("x" * 5000, "name too long"),
        (PICTURE.astype(np.float32), "array.round().astype(numpy.uint8)"),
        (PICTURE / 255, "(array * 255)"),
        (PICTURE.astype(np.int64), "array.astype(numpy.uint8)"),
        (PICTURE.astype(np.uint16), "16 bits"),
        (PICTURE > 3, "astype(numpy.uint8) * 255"),
        (PICTURE.astype(object), "numbers"),
        (np.array("a.jpg"), "numbers"),
        (np.array(None), "numbers"),
        (np.full((3, 4), np.nan), "uint8"),
        (PICTURE.transpose(2, 0, 1), "transpose(1, 2, 0)"),
        (PICTURE[None], "array[0]"),
        (np.stack([PICTURE, PICTURE]), "one image at a time"),
        (PICTURE[:, :, :1], "array[:, :, 0]"),
        (np.dstack([PICTURE, PICTURE[:, :, :1]]), "array[:, :, :3]"),
        (np.zeros(3, np.uint8), "RGB (H, W, 3)"),
        (np.zeros((0, 3, 3), np.uint8), "no pixels"),
        (np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (20_000, 20_000, 3)), "too large"),
    ],
)
def test_what_is_no_picture_is_an_error_with_the_way_out(wrong, says: str) -> None:
    with pytest.raises(ImageError) as caught:
        load_image(wrong)
    assert says.lower() in str(caught.value).lower()


def test_a_file_that_was_opened_for_writing_says_so(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file, pytest.raises(ImageError, match="not opened for reading"):
        load_image(file)


def test_a_tensor_is_told_how_it_becomes_a_picture() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.rand(3, 4, 5)
    with pytest.raises(ImageError, match=r"torch\.Tensor") as caught:
        load_image(tensor)
    hint = str(caught.value.hint)
    # The hint is run as it is printed.
    assert load_image(eval(hint.partition(": ")[2], {"tensor": tensor})).shape == (4, 5, 3)


def test_a_picture_opened_in_a_block_that_has_ended_says_so(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        pass
    with pytest.raises(ImageError, match="was closed before its pixels were read"):
        load_image(image)
    with Image.open(tmp_path / "a.png") as image:
        image.load()
    np.testing.assert_array_equal(load_image(image), PICTURE)


# Thresholds, tasks, numbers


@pytest.mark.parametrize("name", ["overlap_threshold", "object_mask_threshold"])
@pytest.mark.parametrize(
    "wrong", [5, -1, 1.0001, float("nan"), float("inf"), "0.5", True, [0.5], np.array([0.5, 0.5]), 1j]
)
def test_thresholds_outside_0_to_1_are_refused(opened: Segmenter, name: str, wrong) -> None:
    opened.vocabulary = "red"
    with pytest.raises(ArgumentError, match=name):
        opened(PICTURE, **{name: wrong})


@pytest.mark.parametrize("right", [0, 1, 0.5, np.float32(0.5), None])
def test_numbers_of_every_kind_are_thresholds(opened: Segmenter, right) -> None:
    opened.vocabulary = "red"
    assert opened(PICTURE, overlap_threshold=right).panoptic is not None


def test_thresholds_where_they_do_nothing_are_refused(opened: Segmenter) -> None:
    opened.vocabulary = "red"
    with pytest.raises(ArgumentError, match="panoptic"):
        opened(PICTURE, "semantic", overlap_threshold=0.5)


def test_one_task_may_be_named_without_a_list(opened: Segmenter) -> None:
    opened.vocabulary = "red"
    assert list(opened.results(PICTURE, "semantic")) == ["semantic"]
    assert list(opened.results(PICTURE, ["instance", "panoptic"])) == ["instance", "panoptic"]
    assert len(opened.results(PICTURE)) == 3


@pytest.mark.parametrize("wrong", ["s", "Panoptic", [], None, 3, ["semantic", "all"], [None], [["semantic"]]])
def test_a_task_that_does_not_exist_is_refused_with_those_that_do(opened: Segmenter, wrong) -> None:
    opened.vocabulary = "red"
    with pytest.raises(ArgumentError, match="panoptic, semantic, instance"):
        opened.results(PICTURE, wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cache": ""},
        {"cache": True},
        {"cache": 3},
        {"device": 0},
        {"device": ""},
        {"threads": 0},
        {"threads": "4"},
        {"threads": 2.0},
        {"threads": True},
        {"threads": 10**12},
        {"max_windows": 0},
        {"max_windows": "2"},
        {"max_windows": 1.5},
        {"verify": True},
        {"verify": None},
    ],
    ids=str,
)
def test_options_of_another_kind_are_refused_by_name(toy: Path, wrong: dict) -> None:
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        Segmenter.open(toy, **{"cache": False, **wrong})


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "CPU", "cuda:-1"])
def test_a_device_that_does_not_exist_is_refused(toy: Path, device: str) -> None:
    with pytest.raises(BackendError, match=r"device|CUDAExecutionProvider"):
        Segmenter.open(toy, device=device)


def test_a_closed_segmenter_says_so_whatever_is_asked_of_it(toy: Path) -> None:
    with Segmenter.open(toy, vocabulary="red", cache=False) as segmenter:
        pass
    with pytest.raises(BackendError, match="was closed"):
        segmenter(PICTURE)
    with pytest.raises(BackendError, match="was closed"):
        segmenter.results("no such picture")
    with pytest.raises(BackendError, match="was closed"):
        segmenter.vocabulary = "green"
    with pytest.raises(BackendError, match="was closed"), segmenter:
        pass
    segmenter.close()


# Bundles


@pytest.mark.parametrize("wrong", [None, "", 3, b"", OrderedDict()])
def test_a_bundle_is_named_by_a_path(wrong) -> None:
    with pytest.raises(BundleError):
        Segmenter.open(wrong)


def test_a_segmenter_made_without_open_says_how_it_is_made(toy: Path) -> None:
    for mistake in (lambda: Segmenter(toy), lambda: Segmenter(folder=toy), Segmenter):
        with pytest.raises(ArgumentError, match=r"made by Segmenter\.open"):
            mistake()


def test_a_path_that_is_nearly_a_bundle_says_which_is(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=f"it holds bundles\n.*{toy}"):
        Bundle.open(toy.parent)
    with pytest.raises(BundleError, match=f"is a file, not the folder of a bundle\n.*{toy}"):
        Bundle.open(toy / "manifest.json")
    with pytest.raises(BundleError, match="is not a bundle: No such file"):
        Bundle.open(tmp_path / "nowhere")
    with pytest.raises(BundleError, match="not a bundle"):
        Bundle.open("x" * 300)
    with pytest.raises(BundleError, match="not a bundle"):
        Bundle.open("a\0b")


def test_a_tilde_is_the_home_in_bundles_and_caches(toy: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(toy.parent))
    monkeypatch.delenv("ODISE_CACHE", raising=False)
    with Segmenter.open(f"~/{toy.name}", vocabulary="red", cache="~/tables"):
        assert any((toy.parent / "tables").iterdir())
    with pytest.raises(BundleError, match=r"~nobodyhere/x is not a bundle"):
        Segmenter.open("~nobodyhere/x")


def test_a_cache_in_a_home_that_does_not_exist_is_refused(toy: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ODISE_CACHE", "~nobodyhere/x")
    with pytest.raises(OutputError, match="ODISE_CACHE is '~nobodyhere/x'"):
        Segmenter.open(toy, vocabulary="red")
    with pytest.raises(OutputError, match="cache is '~nobodyhere/y'"):
        Segmenter.open(toy, vocabulary="red", cache="~nobodyhere/y")
    assert list(tmp_path.iterdir()) == []

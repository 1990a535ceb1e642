"""Any image a person has becomes RGB pixels, or an error that says what is wrong with it."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from odise_trt.errors import ImageError
from odise_trt.pictures import image_file
from odise_trt.preprocess import clip_image, load_image, pad, resize_shortest, shortest_size, to_planes


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def photo() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_a_path_bytes_a_pillow_image_and_an_array_give_the_same_pixels(tmp_path: Path) -> None:
    pixels = photo()
    image = Image.fromarray(pixels)
    path = tmp_path / "photo.png"
    image.save(path)

    for source in (path, str(path), path.read_bytes(), image, pixels):
        np.testing.assert_array_equal(load_image(source), pixels)


def test_the_exif_orientation_is_applied() -> None:
    image = Image.fromarray(photo())
    exif = image.getexif()
    exif[0x0112] = 6  # shown turned clockwise by a quarter
    turned = load_image(encoded(image, exif=exif))

    np.testing.assert_array_equal(turned, np.rot90(photo(), -1))


def test_grayscale_becomes_three_equal_channels() -> None:
    gray = photo()[:, :, 0]

    for source in (encoded(Image.fromarray(gray)), gray):
        np.testing.assert_array_equal(load_image(source), np.repeat(gray[:, :, None], 3, axis=2))


def test_transparency_is_dropped_not_blended() -> None:
    pixels = photo()
    clear = np.dstack([pixels, np.zeros(pixels.shape[:2], np.uint8)])

    np.testing.assert_array_equal(load_image(encoded(Image.fromarray(clear))), pixels)


def test_a_palette_image_shows_its_colours() -> None:
    image = Image.new("P", (4, 3))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((2, 1), 1)
    pixels = load_image(encoded(image))

    assert pixels[1, 2].tolist() == [200, 100, 50]
    assert pixels[0, 0].tolist() == [10, 20, 30]


def test_cmyk_is_converted() -> None:
    white = Image.new("CMYK", (8, 8), (0, 0, 0, 0))

    assert load_image(encoded(white, "TIFF")).min() == 255


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    deep = np.array([[0, 128, 257, 32768, 65535]], dtype=np.uint16)
    pixels = load_image(encoded(Image.fromarray(deep)))

    # value / 257, rounded
    assert pixels[0, :, 0].tolist() == [0, 0, 1, 128, 255]


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(ImageError, match="floating-point"):
        load_image(encoded(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"))


def test_a_file_that_is_not_an_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_text("not a picture")

    with pytest.raises(ImageError, match=r"notes\.jpg is not an image"):
        load_image(path)


def test_an_empty_file_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "empty.png"
    path.touch()

    with pytest.raises(ImageError, match=r"empty\.png is empty"):
        load_image(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_truncated_file_is_an_error_at_every_length(kind: str) -> None:
    data = encoded(Image.fromarray(photo()), kind)

    for length in range(1, len(data) // 2, 7):
        with pytest.raises(ImageError):
            load_image(data[:length])


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_an_avif_with_spoilt_contents_is_an_error() -> None:
    data = bytearray(encoded(Image.fromarray(photo()), "AVIF"))
    start = data.index(b"mdat") + 4
    data[start:] = b"\xff" * (len(data) - start)
    with pytest.raises(ImageError, match="is damaged"):
        load_image(bytes(data))


def test_a_missing_file_and_a_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file"):
        load_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="directory"):
        load_image(tmp_path)


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    # A PNG of a few bytes that claims 60000 x 60000 pixels.
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 999))

    with pytest.raises(ImageError, match="178956970"):
        load_image(bomb)


def test_an_image_just_within_the_limit_passes_without_a_warning(monkeypatch, recwarn) -> None:
    # Pillow warns from half of its limit on; the limit is ours.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    monkeypatch.setattr(image_file, "MAX_PIXELS", 600)

    assert load_image(encoded(Image.fromarray(photo()))).shape == (20, 30, 3)
    assert not recwarn.list
    with pytest.raises(ImageError, match="31 x 20 pixels, the limit is 600"):
        load_image(encoded(Image.new("RGB", (31, 20))))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), "must be uint8"),
        (np.zeros((3, 8, 9), np.uint8), r"transpose\(1, 2, 0\)"),
        (np.zeros((4, 4, 4), np.uint8), r"shape \(H, W, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (np.zeros((1, 2, 3, 4), np.uint8), r"shape \(H, W, 3\)"),
    ],
)
def test_an_array_that_is_no_image_is_refused_with_what_to_do(array, message) -> None:
    with pytest.raises(ImageError, match=message):
        load_image(array)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 640), (1024, 1365)),  # 1365.33
        ((640, 480), (1365, 1024)),
        ((1000, 1000), (1024, 1024)),
        ((100, 1000), (256, 2560)),  # the longer side would be 10240
        ((4000, 3000), (1365, 1024)),
        ((33, 64), (1024, 1986)),  # 1985.94
        ((1, 10000), (1, 2560)),  # the shorter would be 0.256
    ],
)
def test_the_shorter_side_is_1024_and_the_longer_at_most_2560(size, expected) -> None:
    assert shortest_size(*size, 1024, 2560) == expected


def test_pixels_are_resized_by_pillow_on_eight_bits() -> None:
    image = photo()
    expected = np.asarray(Image.fromarray(image).resize((96, 64), Image.Resampling.BILINEAR))

    np.testing.assert_array_equal(resize_shortest(image, 64, 200), expected)


def test_padding_is_black_at_the_bottom_and_right() -> None:
    planes = to_planes(np.full((60, 100, 3), 51, np.uint8))
    padded = pad(planes, 64)

    assert planes.dtype == padded.dtype == np.float32
    assert padded.shape == (3, 64, 128)
    np.testing.assert_array_equal(padded[:, :60, :100], np.float32(0.2))
    assert not padded[:, 60:].any()
    assert not padded[:, :, 100:].any()


@pytest.mark.parametrize("size", [(70, 333), (20, 12), (28, 28)])
def test_clip_sees_the_picture_resized_as_torch_does_it(size) -> None:
    torch = pytest.importorskip("torch")
    planes = np.random.default_rng(3).random((3, *size), dtype=np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(planes)[None], size=(28, 28), mode="bilinear", align_corners=False
    )

    np.testing.assert_allclose(clip_image(planes, 28), expected.numpy(), atol=1e-6)

"""Fine pictures are read whatever is beside their pixels; of other files the message says what they are."""

from __future__ import annotations

import io
import itertools
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, PngImagePlugin, features

from odise_trt.coco_panoptic import encode_ids, read_ids
from odise_trt.errors import ImageError
from odise_trt.pictures.encode import image_bytes, mark_of, marked_png
from odise_trt.pictures.image_file import open_picture
from odise_trt.preprocess import load_image

pytestmark = pytest.mark.filterwarnings("error::UserWarning")

SIZE = (20, 30)
PIXELS = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
IMAGE = Image.fromarray(PIXELS)


def encoded(image: Image.Image = IMAGE, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def message(source) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(source)
    return str(caught.value)


def chunk(kind: bytes, content: bytes, checksum: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png_with(*chunks: bytes) -> bytes:
    """A PNG with chunks after its header."""
    data = encoded()
    return data[:33] + b"".join(chunks) + data[33:]


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


# Metadata


def texts(**made: str) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    for key, value in made.items():
        info.add_text(key, value, zip=True)
        info.add_itxt(key, value, zip=True)
    return info


@pytest.mark.parametrize(
    "data",
    [
        encoded(pnginfo=texts(workflow="x" * 2_000_000)),
        encoded(icc_profile=b"x" * 3_000_000),
        encoded(pnginfo=texts(**{f"k{n}": "y" * 900_000 for n in range(40)})),
        encoded(pnginfo=texts(**{"XML:com.adobe.xmp": "x" * 3_000_000})),
        png_with(chunk(b"tEXt", b"key\0text", checksum=7)),
        png_with(chunk(b"zTXt", b"key\0\x05not zlib")),
        png_with(chunk(b"iCCP", b"name\0\x09")),
        png_with(chunk(b"gAMA", b"")),
        png_with(chunk(b"pHYs", b"\1")),
        png_with(chunk(b"cHRM", b"\1\2\3")),
        png_with(chunk(b"eXIf", os.urandom(300))),
        png_with(chunk(b"eXIf", b"II*\0\x08\0\0\0\1\0", checksum=1)),
        png_with(chunk(b"prVt", bytes(100_000))),
        encoded(kind="WEBP", lossless=True, icc_profile=b"z" * 3_000_000),
        encoded(kind="TIFF", icc_profile=b"z" * 3_000_000),
        encoded(kind="TIFF", compression="tiff_lzw", tiffinfo={270: "d" * 1_000_000, 282: 0.0}),
    ],
)
def test_metadata_never_keeps_a_picture_from_being_read(data: bytes) -> None:
    np.testing.assert_array_equal(load_image(data), PIXELS)


@pytest.mark.parametrize(
    "extra",
    [
        segment(0xE0, b"JFIF"),
        segment(0xE1, b"Exif\0\0" + b"\xff" * 5000),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"\xff" * 5000),
        segment(0xE2, b"ICC_PROFILE\0"),
        segment(0xE2, b"MPF\0not a directory"),
        segment(0xED, b"Photoshop 3.0\x008BIM\0\1"),
        segment(0xEE, b"Adobe"),
        segment(0xFE, b"c" * 65_000),
    ],
)
def test_damaged_metadata_of_a_jpeg_is_passed_over(extra: bytes) -> None:
    data = encoded(kind="JPEG")

    np.testing.assert_array_equal(load_image(data[:2] + extra + data[2:]), load_image(data))


def test_a_jpeg_with_stray_bytes_between_its_segments_is_read() -> None:
    data = encoded(kind="JPEG")
    for stray in (segment(0xFE, b"a comment") + b"\0\0", segment(0xE2, b"ICC_PROFILE\0") + b"\xff\xff"):
        np.testing.assert_array_equal(load_image(data[:2] + stray + data[2:]), load_image(data))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_the_one_thing_metadata_is_read_for_is_the_orientation(kind, orientation, turns) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = "a description " * 1000
    data = encoded(kind=kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))

    np.testing.assert_array_equal(load_image(data), np.rot90(PIXELS, turns))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("kind", "value", "turns"), [("HH", (6, 0), 3), ("I", (6,), 3), ("2s2x", (b"6",), 0), ("4s", (b"\6",), 0)]
)
def test_an_orientation_counts_where_it_is_a_number(order, kind, value, turns) -> None:
    number = {"HH": 3, "I": 4, "2s2x": 2, "4s": 7}[kind]
    row = struct.pack(f"{order}HHI{kind}", 0x0112, number, 1, *value)
    exif = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, 1) + row + bytes(4)

    np.testing.assert_array_equal(load_image(png_with(chunk(b"eXIf", exif))), np.rot90(PIXELS, turns))


def test_an_orientation_in_a_compressed_text_counts_as_before() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    block = exif.tobytes()
    profile = f"\nexif\n{len(block):8}\n{block.hex()}\n"
    for info in (texts(**{"Raw profile type exif": profile}), texts(workflow="x" * 2_000_000)):
        turned = load_image(encoded(pnginfo=info))
        np.testing.assert_array_equal(turned, PIXELS[::-1, ::-1] if len(info.chunks[0][1]) < 500 else PIXELS)


def warning_tiff() -> bytes:
    """A TIFF that Pillow warns of: a tag without the count that it ought to have."""
    data = bytearray(encoded(kind="TIFF", tiffinfo={271: "maker"}))
    place = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, place)[0]
    for row in range(place + 2, place + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, row)[0] == 278:  # rows per strip, which decoding needs
            struct.pack_into("<I", data, row + 4, 3)
            struct.pack_into("<I", data, row + 8, 8)
    return bytes(data)


def test_no_warning_of_pillow_is_shown_and_those_of_other_threads_are() -> None:
    data = warning_tiff()
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with Image.open(io.BytesIO(data)):
            pass
    assert shown, "Pillow does not warn of this file any more"

    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with open_picture(io.BytesIO(data), "photo"):
            other = threading.Thread(target=warnings.warn, args=("of another thread",))
            other.start()
            other.join()
        warnings.warn("afterwards", stacklevel=1)
        filters = len(warnings.filters)
        load_image(data)
        assert len(warnings.filters) == filters
    assert [str(one.message) for one in shown] == ["of another thread", "afterwards"]


# What other programs show

# Deep and floating-point pixels Pillow clips; they have tests of their own.
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV")


@pytest.mark.parametrize(
    "kind",
    ["JPEG", "MPO", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "DIB", "GIF", "ICO", "JPEG2000", "PPM", "TGA"],
)
def test_pixels_are_those_that_pillow_shows(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    saved = 0
    for mode, orientation in itertools.product(MODES, range(1, 9)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = Image.new(mode, (7, 5)) if mode in ("PA", "LAB") else IMAGE.resize((7, 5)).convert(mode)
        try:
            data = encoded(image, kind, exif=exif)
        except (OSError, ValueError, KeyError):  # a mode that the format does not have
            continue
        with Image.open(io.BytesIO(data)) as opened:
            expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
            np.testing.assert_array_equal(load_image(opened), expected)
        np.testing.assert_array_equal(load_image(data), expected)
        saved += 1
    assert saved


def test_what_a_pillow_image_cannot_decode_is_no_black_picture() -> None:
    # Pillow writes it, and reads black of it if asked twice.
    broken = encoded(kind="TIFF", compression="tiff_lzw", tiffinfo={284: 2})
    with Image.open(io.BytesIO(broken)) as image:
        assert "damaged" in message(image)
    for kind in ("JPEG", "PNG", "GIF", "TIFF", "BMP"):
        data = encoded(kind=kind)
        with Image.open(io.BytesIO(data[: len(data) * 2 // 3] if kind != "TIFF" else broken)) as image:
            assert "damaged" in message(image)


# Depths of TIFFs


def tiff(
    values: np.ndarray, bits: int, white: bool, order: str, packed: bool, reverse: bool = False
) -> bytes:
    """A gray TIFF of one strip, written by hand.

    Args:
        packed: deflate.
        reverse: bits of a byte from low to high.
    """
    height, width = values.shape
    if bits < 8 or bits == 12:
        places = [
            [(int(value) >> (bits - 1 - place)) & 1 for value in row for place in range(bits)]
            for row in values
        ]
        strip = b"".join(np.packbits(row).tobytes() for row in places)
    else:
        strip = values.astype(f"{order}u{bits // 8}").tobytes()
    if reverse:
        strip = np.packbits(np.unpackbits(np.frombuffer(strip, np.uint8)), bitorder="little").tobytes()
    if packed:
        strip = zlib.compress(strip)
    tags = {256: width, 257: height, 258: bits, 259: 8 if packed else 1, 262: 0 if white else 1}
    tags |= {266: 2 if reverse else 1, 273: 8, 277: 1, 278: height, 279: len(strip)}
    rows = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    mark = b"II*\0" if order == "<" else b"MM\0*"
    strip += b"\0" * (len(strip) % 2)
    directory = struct.pack(order + "H", len(tags)) + rows + struct.pack(order + "I", 0)
    return mark + struct.pack(order + "I", 8 + len(strip)) + strip + directory


# Of 12 bits Pillow reads little-endian plain ones only.
@pytest.mark.parametrize("white", [False, True], ids=["black is zero", "white is zero"])
@pytest.mark.parametrize(
    ("bits", "packed", "order"),
    [(12, False, "<"), *((b, p, o) for b in (1, 2, 4, 8, 16) for p in (False, True) for o in "<>")],
)
def test_gray_tiffs_of_every_depth_show_the_same_picture(bits, packed, order, white) -> None:
    most = 2**bits - 1
    brightness = np.random.default_rng(2).integers(0, most, (11, 13), endpoint=True)
    brightness[0, :2] = 0, most
    stored = most - brightness if white else brightness

    shown = load_image(tiff(stored, bits, white, order, packed))[:, :, 0].astype(float)

    assert abs(shown - brightness * 255 / most).max() <= 0.5


def test_the_order_of_bits_in_a_byte_does_not_turn_white_to_black() -> None:
    brightness = np.arange(16, dtype=np.uint16).reshape(4, 4) * 4369
    shown = load_image(tiff(65535 - brightness, 16, True, "<", False, reverse=True))

    assert shown[:, :, 0].ravel().tolist() == [17 * n for n in range(16)]


def test_a_pillow_image_of_such_a_file_is_the_same_picture(tmp_path: Path) -> None:
    stored = np.arange(16, dtype=np.uint16).reshape(4, 4) * 4369
    path = tmp_path / "x.tif"
    path.write_bytes(tiff(stored, 16, True, "<", False))
    with Image.open(path) as image:
        np.testing.assert_array_equal(load_image(image), load_image(path))


def test_deep_pixels_beyond_sixteen_bits_are_refused_with_their_range() -> None:
    deep = encoded(Image.fromarray(np.array([[-5, 70000]], np.int32)), "TIFF")

    assert "pixels from -5 to 70000" in message(deep)


# What is no picture


def tags_of(*rows: tuple[int, int, int, int]) -> bytes:
    """A TIFF of nothing but a directory: tag, type, count, value."""
    packed = b"".join(struct.pack("<HHII", *row) for row in sorted(rows))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(rows)) + packed + b"\0\0\0\0" + bytes(64)


def ftyp(*brands: bytes) -> bytes:
    return struct.pack(">I", 12 + 4 * len(brands)) + b"ftyp" + brands[0] + bytes(4) + b"".join(brands[1:])


def with_tag(data: bytes, old: int, new: tuple[int, int, int, int]) -> bytes:
    """A little-endian TIFF with a row of its directory replaced."""
    place = struct.unpack_from("<I", data, 4)[0]
    row = data.index(struct.pack("<H", old), place + 2)
    return data[:row] + struct.pack("<HHII", *new) + data[row + 12 :]


@pytest.mark.parametrize(
    ("data", "what", "way_out"),
    [
        (ftyp(b"heic", b"mif1", b"heic"), "HEIC", "heif-convert"),
        (ftyp(b"mif1", b"mif1", b"heic"), "HEIC", "heif-convert"),
        (ftyp(b"crx ", b"crx ", b"isom"), "raw picture", "develop"),
        (ftyp(b"isom", b"mp42"), "video", "ffmpeg"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(99), "raw picture (CR2)", "develop"),
        (tags_of((254, 4, 1, 1), (330, 4, 1, 64), (256, 4, 1, 160)), "raw picture", "develop"),
        (tags_of((50706, 1, 4, 0x401), (256, 4, 1, 160)), "raw picture (DNG)", "develop"),
        (tags_of((258, 3, 1, 32), (277, 3, 1, 3), (339, 3, 1, 3)), "floating-point", "8 bits"),
        (tags_of((258, 3, 1, 16), (277, 3, 1, 7), (262, 3, 1, 1)), "7 channels of 16-bit", "8 bits"),
        (tags_of((258, 3, 1, 8), (259, 3, 1, 34712), (277, 3, 1, 3)), "compressed as JPEG 2000", "LZW"),
        (tags_of((258, 3, 1, 8), (259, 3, 1, 4711), (277, 3, 1, 3)), "compressed as number 4711", "LZW"),
        (b"\xff\xd8\xff\xf7" + bytes(99), "JPEG-LS", "convert"),
        (b"8BPS\0\1" + bytes(99), "Photoshop", "export"),
        (b"%PDF-1.7\n", "PDF", "pdftoppm"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript", "PNG"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG", "render"),
        (b"\n<!DOCTYPE html>\n<title>404</title>", "web page", "fetch it again"),
        (
            b'{"error": "AccessDenied"}',
            'text, it begins with \'{"error": "AccessDenied"}\'',
            "name a picture",
        ),
        ("Zugriff verweigert: ä".encode("utf-16"), "text", "name a picture"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "Git LFS pointer", "git lfs pull"),
        (b"/annex/objects/SHA256E-s1--00.jpg\n", "git-annex pointer", "git annex get"),
        (b"PK\3\4" + bytes(99), "ZIP", "unpack"),
        (b"\x93NUMPY\1\0", "numpy", "numpy.load"),
        (bytes(128) + b"DICM", "DICOM", "range"),
        (bytes(3000), "nothing but zeros", "get it again"),
        (b"\0\5\x16\7" + bytes(99), "companion file of macOS", "._"),
        (b"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\0\x10JFIF", "written as text", "bytes"),
        (b"\x89PNG\n\x1a\n" + bytes(99), "copied as text", "binary"),
        (b"iVBORw0KGgoAAAANSUhEUg==", "base64", "decode"),
        (encoded(kind="PCX"), "PCX", "convert"),
        (
            b"\xff\xd8" + segment(0xC0, bytes([12, 0, 9, 0, 9, 1, 1, 17, 0])) + b"\xff\xd9",
            "a JPEG file that is not read: cannot handle 12-bit layers",
            "PNG",
        ),
    ],
)
def test_a_file_of_another_kind_is_named_with_the_way_out(data, what, way_out, tmp_path: Path) -> None:
    path = tmp_path / "IMG_2.jpg"
    path.write_bytes(data)
    for source in (path, data):
        said = message(source)
        assert what in said
        assert way_out in said
        assert "truncated" not in said


def test_a_heic_is_read_where_another_package_can(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ftyp(b"heic", b"mif1")
    monkeypatch.setitem(
        Image.OPEN, "HEIF", (lambda file, name: IMAGE.copy(), lambda head: head[4:8] == b"ftyp")
    )

    np.testing.assert_array_equal(load_image(data), PIXELS)


def test_a_large_file_of_another_kind_is_not_read_whole() -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            assert size >= 0, "all of it was asked for"
            return ftyp(b"isom").ljust(size, b"\0")

    assert "video" in message(Endless())


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_truncated_download_is_suspected_only_where_the_end_is_missing(kind: str) -> None:
    data = encoded(kind=kind)
    assert "truncated download" in message(data[: len(data) // 2])

    spoilt = bytearray(data)
    if kind == "PNG":
        spoilt[60:90] = bytes(30)
        said = message(bytes(spoilt))
        assert "damaged" in said
        assert "truncated download" not in said


def test_too_little_memory_for_a_picture_is_an_error_about_the_picture(monkeypatch) -> None:
    def refuse(self) -> None:
        raise MemoryError

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", refuse)

    assert "not enough memory" in message(encoded())


# Damage anywhere

_FILES: dict[str, bytes] = {
    "map": encoded(Image.fromarray(encode_ids(np.arange(600).reshape(SIZE))), compress_level=0),
    "photo": encoded(pnginfo=texts(key="value")),
    "gray16": encoded(Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257), "PNG"),
    "tiff": tiff(PIXELS[..., 0].astype(np.uint16), 16, True, ">", False),
    "jpeg": encoded(kind="JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"),
    "webp": encoded(kind="WEBP"),
    "gif": encoded(kind="GIF"),
    "lzw": encoded(kind="TIFF", compression="tiff_lzw"),
}


def read_or_refused(read: Callable[[], np.ndarray]) -> bool:
    """Any other error than an ImageError fails the test."""
    with suppress(ImageError):
        return isinstance(read(), np.ndarray)
    return True


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(sorted(_FILES)),
    place=st.floats(0, 1, exclude_max=True),
    patch=st.binary(min_size=1, max_size=8),
    cut=st.booleans(),
)
def test_damage_anywhere_gives_an_image_error_or_pixels(name, place, patch, cut, tmp_path: Path) -> None:
    data = _FILES[name]
    at = int(place * len(data))
    damaged = data[:at] + patch + (b"" if cut else data[at + len(patch) :])
    path = tmp_path / "damaged.png"
    path.write_bytes(damaged)

    assert read_or_refused(lambda: load_image(path))
    assert read_or_refused(lambda: read_ids(path))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.replace(b"IDAT", b"\1\2\3\4"),
        lambda data: data[:16] + struct.pack(">II", 60000, 60000) + data[24:],
        lambda data: data[:8] + chunk(b"IHDR", b"\0\0") + data[33:],
        lambda data: (
            data[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)) + data[33:]
        ),
        lambda data: data[:40],
        lambda data: b"",
        lambda data: b"not a map",
        lambda data: encoded(kind="JPEG"),
        lambda data: encoded(IMAGE.convert("L")),
    ],
)
def test_a_damaged_or_huge_map_is_an_image_error_that_names_it(damage, tmp_path: Path) -> None:
    path = tmp_path / "000000000001.png"
    path.write_bytes(damage(_FILES["map"]))
    with pytest.raises(ImageError, match=r"000000000001\.png"):
        read_ids(path)


def test_a_map_is_read_whatever_its_metadata(tmp_path: Path) -> None:
    path = tmp_path / "map.png"
    ids = np.arange(600).reshape(SIZE)
    path.write_bytes(encoded(Image.fromarray(encode_ids(ids)), pnginfo=texts(a="x" * 2_000_000)))

    np.testing.assert_array_equal(read_ids(path), ids)


def test_the_mark_of_a_picture_is_read_back_and_other_files_have_none(tmp_path: Path) -> None:
    picture = Image.new("RGB", (2, 2))
    (tmp_path / "marked.png").write_bytes(marked_png(picture, "made by", "ours: é"))
    assert mark_of(tmp_path / "marked.png", "made by") == "ours: é"
    assert mark_of(tmp_path / "marked.png", "another key") is None
    (tmp_path / "plain.png").write_bytes(image_bytes(picture))
    (tmp_path / "text.png").write_text("no picture")
    for name in ("plain.png", "text.png", "none.png"):
        assert mark_of(tmp_path / name, "made by") is None

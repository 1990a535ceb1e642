"""Identifies a file by its first bytes, not by its name, and says what to do with unsupported kinds."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from . import tiff

#: Number of first bytes that `kind_of` looks at.
HEAD = 4096

_CONVERT = "convert it to JPEG or PNG"
_DEVELOP = "develop it: darktable, dcraw or the camera's program save it as JPEG or TIFF"
_HEIC = "convert it: heif-convert photo.heic photo.jpg; or in Python: pillow_heif.register_heif_opener()"
_AVIF = "this Pillow was built without AVIF: pip install --upgrade pillow"
_DRAW = "render it as PNG at the size you need: inkscape, rsvg-convert"
_PAGE = "render its page as PNG: pdftoppm -png -r 150"
_FRAME = "take pictures out of it: ffmpeg -i FILE frame%05d.png"
_UNPACK = "unpack it"
_ARRAY = "load it in Python, and give a uint8 array (H, W, 3)"
_WINDOW = "choose the range of values to show, and save it as PNG"


@dataclass(frozen=True)
class FileKind:
    """Attributes:
    what: the kind in words, "a PDF document".
    way_out: what to do.
    """

    what: str
    way_out: str


#: First bytes of archives, and what they are. ZIP is not among them, since other formats use it, too.
ARCHIVES = (
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"(\xb5/\xfd", "a zstd archive"),
)
# Bytes at the start.
_STARTS = (
    (b"8BPS", "a Photoshop document (PSD)", "export it as PNG or JPEG"),
    (b"gimp xcf", "a GIMP picture (XCF)", "export it as PNG or JPEG"),
    (b"%PDF", "a PDF document", _PAGE),
    (b"%!PS", "PostScript (EPS)", _PAGE),
    (b"\xc5\xd0\xd3\xc6", "PostScript (EPS)", _PAGE),
    (b"FUJIFILMCCD-RAW", "a camera's raw picture (RAF)", _DEVELOP),
    (b"IIRO", "a camera's raw picture (ORF)", _DEVELOP),
    (b"IIRS", "a camera's raw picture (ORF)", _DEVELOP),
    (b"IIU\0", "a camera's raw picture (RW2)", _DEVELOP),
    (b"FOVb", "a camera's raw picture (X3F)", _DEVELOP),
    (b"\0MRM", "a camera's raw picture (MRW)", _DEVELOP),
    (b"\xff\xd8\xff\xf7", "a JPEG-LS picture", _CONVERT),
    (b"\xff\x0a", "a JPEG XL picture", _CONVERT),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture", _CONVERT),
    (b"II\xbc\x01", "a JPEG XR picture", _CONVERT),
    (b"v/1\x01", "an OpenEXR picture", _WINDOW),
    (b"#?RADIANCE", "a Radiance picture (HDR)", _WINDOW),
    (b"#?RGBE", "a Radiance picture (HDR)", _WINDOW),
    (b"SIMPLE  =", "a FITS file", _WINDOW),
    (b"DDS ", "a DirectDraw texture (DDS)", _CONVERT),
    (b"qoif", "a QOI picture", _CONVERT),
    (b"icns", "an Apple icon (ICNS)", _CONVERT),
    (b"\xd7\xcd\xc6\x9a", "a Windows metafile (WMF)", _DRAW),
    (b"\x93NUMPY", "an array of numpy (.npy)", "load it: segmenter(numpy.load(FILE))"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", _ARRAY),
    (b"MATLAB 5.0", "a file of MATLAB", _ARRAY),
    (b"PK\x03\x04", "a ZIP archive (or an office document, an .npz, a .pt)", _UNPACK),
    *((start, what, _UNPACK) for start, what in ARCHIVES),
    (b"\x1aE\xdf\xa3", "a video (Matroska, WebM)", _FRAME),
    (b"FLV\x01", "a video (Flash)", _FRAME),
    (b"\0\0\x01\xba", "a video (MPEG)", _FRAME),
    (b"ID3", "a sound file (MP3)", "name a picture"),
    (b"\0\x05\x16\x07", "a companion file of macOS (._NAME)", "take the file without ._ in its name"),
    (b"\0\0\0\x01Bud1", "a folder's settings of macOS (.DS_Store)", "name a picture"),
    (b"L\0\0\0\x01\x14\x02\0", "a shortcut of Windows", "name the file that it points to"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an office document or Thumbs.db", "save its pictures as files"),
    (b"\x7fELF", "a program", "name a picture"),
    (b"version https://git-lfs.github.com/", "a Git LFS pointer, not the picture itself", "git lfs pull"),
    (b"annex/objects/", "a git-annex pointer, not the picture itself", "git annex get FILE"),
    (b"/annex/objects/", "a git-annex pointer, not the picture itself", "git annex get FILE"),
    (b"\x89PNG\n\x1a\n", "a PNG that was copied as text, its line ends were changed", "copy it as binary"),
    (b"\x89PNG\r\r\n", "a PNG that was copied as text, its line ends were changed", "copy it as binary"),
    (b"\xc2\x89PNG", "a PNG that was written as text", "write it as bytes"),
    (b"\xef\xbf\xbdPNG", "a PNG that was written as text", "write it as bytes"),
    (b"\xc3\xbf\xc3\x98\xc3\xbf", "a JPEG that was written as text", "write it as bytes"),
    (b"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", "binary data that was written as text", "write it as bytes"),
)
# Brands after "ftyp" in ISO base media files, and Pillow's name of the format if it has a reader.
_BRANDS = (
    ((b"avif", b"avis"), "AVIF", "an AVIF picture", _AVIF),
    (
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
        "HEIF",
        "a HEIC picture, as iPhones take them",
        _HEIC,
    ),
    ((b"crx ",), None, "a camera's raw picture (CR3)", _DEVELOP),
)
#: Formats that are read, by their first bytes. TGA has none.
_READ = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"\0\0\x01\0", "ICO"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    *((prefix, "TIFF") for prefix in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
)


def kind_of(head: bytes, formats: Collection[str]) -> FileKind | None:
    """Return the kind of a file that is not a supported picture. None: it may be one.

    The signature alone decides. `guess` handles files without a signature.

    Args:
        head: the first `HEAD` bytes.
        formats: Pillow's names of the supported formats.
    """
    for start, what, way_out in _STARTS:
        if head.startswith(start):
            return FileKind(what, way_out)
    if head[4:8] == b"ftyp":
        return _of_brand(head, formats)
    if head.startswith(b"RIFF") and head[8:12] in (b"AVI ", b"WAVE"):
        video = head[8:12] == b"AVI "
        return (
            FileKind("a video (AVI)", _FRAME) if video else FileKind("a sound file (WAV)", "name a picture")
        )
    if head[128:132] == b"DICM":
        return FileKind("a DICOM file", _WINDOW)
    if head[257:262] == b"ustar":
        return FileKind("a tar archive", _UNPACK)
    if head[8:10] == b"CR" and head[:4] == b"II*\0":
        return FileKind("a camera's raw picture (CR2)", _DEVELOP)
    return None


def raw_of(data: bytes) -> FileKind | None:
    """Detect a camera's raw picture with the signature of TIFF. Its first directory is a small preview."""
    directory = tiff.read_directory(data)
    if directory is None:
        return None
    preview = any(value & 1 for value in directory.values(tiff.SUBFILE_TYPE)) and directory.has(tiff.SUB_IFDS)
    if directory.has(tiff.DNG_VERSION):
        return FileKind("a camera's raw picture (DNG)", _DEVELOP)
    return FileKind("a camera's raw picture (NEF, ARW, ...)", _DEVELOP) if preview else None


def guess(head: bytes) -> FileKind | None:
    """Guess the kind of a file that no picture reader took: web page, drawing, text. None: not known."""
    if not head.strip(b"\0"):
        return FileKind("nothing but zeros", "it was never written or fetched: get it again")
    text = _text_of(head)
    if text is None:
        return None
    text = text.lstrip("\ufeff \t\r\n")
    start = text.lower()
    if "<svg" in start[:2000]:
        return FileKind("an SVG drawing", _DRAW)
    if start.startswith(("<!doctype html", "<html")) or "<html" in start[:1000]:
        return FileKind("a web page", "the server sent a page instead of the picture: fetch it again")
    if start.startswith("data:image/"):
        return FileKind("a data: address", "decode what follows the comma with base64")
    if start.startswith(("ivborw0kggo", "/9j/")):
        return FileKind("a picture as base64 text", "decode it: base64 -d")
    begins = " ".join(text.split())[:40]
    return FileKind(f"text, it begins with {begins!r}", "name a picture")


def format_of(head: bytes) -> str | None:
    """Return the name of the supported format that these first bytes indicate, or None."""
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        return next((reader for ours, reader, _, _ in _BRANDS if reader and head[8:12] in ours), None)
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0":
        return "BMP"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "PPM"
    return next((name for start, name in _READ if head.startswith(start)), None)


def _of_brand(head: bytes, formats: Collection[str]) -> FileKind | None:
    size = int.from_bytes(head[:4], "big")
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, min(size, 256), 4))]
    for ours, reader, what, way_out in _BRANDS:
        if any(brand in ours for brand in brands):
            return None if reader in formats else FileKind(what, way_out)
    return FileKind("a video (MP4, MOV)", _FRAME)


def _text_of(head: bytes) -> str | None:
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    # The last letter may be cut.
    text = head.decode(encoding, errors="ignore")
    strange = sum(not (character.isprintable() or character in "\t\r\n\f\ufeff") for character in text)
    lost = len(head) - len(text.encode(encoding, errors="ignore"))
    return text if text.strip() and strange == 0 and lost <= 4 else None

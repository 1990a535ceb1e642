"""libodise_trt through its C interface, with ctypes: what a program in another language sees."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.cpp.structures import Category, Image, Map, MapsRequest, Options, Region, Request, Words

TASKS = {"panoptic": 1, "semantic": 2, "instance": 4}
STATUS = ("OK", "ArgumentError", "ImageError", "VocabularyError", "BundleError", "BackendError")


class OdiseError(Exception):
    """An error of the library."""

    def __init__(self, status: int, name: str, message: str, hint: str, whole: str) -> None:
        super().__init__(whole)
        self.status, self.name, self.message, self.hint = status, name, message, hint


@dataclass(frozen=True)
class Segment:
    """A segment or an object."""

    id: int
    category_id: int
    name: str
    isthing: bool
    score: float
    area: int
    bbox: tuple[int, int, int, int]


@dataclass(frozen=True)
class Result:
    """A result, copied."""

    panoptic: np.ndarray | None
    semantic: np.ndarray | None
    segments: list[Segment]
    instances: list[Segment]
    masks: list[np.ndarray]
    categories: list[tuple[str, bool]]
    timings: list[tuple[str, float]]
    note: str


@dataclass(frozen=True)
class Features:
    """Name -> map (C, h, w) and stride, copied; and height and width of the resized picture."""

    maps: dict[str, tuple[np.ndarray, int]]
    size: tuple[int, int]


def image_of(pixels: np.ndarray) -> Image:
    """A picture uint8 (H, W, 3) without gaps. The array must live as long."""
    height, width, _ = pixels.shape
    assert pixels.flags.c_contiguous
    return Image(data=pixels.ctypes.data, width=width, height=height)


_P = ctypes.c_void_p
_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "odise_abi_version": (ctypes.c_uint32, ()),
    "odise_version": (ctypes.c_char_p, ()),
    "odise_engines": (ctypes.c_char_p, ()),
    "odise_status_name": (ctypes.c_char_p, (ctypes.c_int,)),
    "odise_last_error": (ctypes.c_char_p, ()),
    "odise_last_message": (ctypes.c_char_p, ()),
    "odise_last_hint": (ctypes.c_char_p, ()),
    "odise_open": (ctypes.c_int, (ctypes.c_char_p, ctypes.POINTER(Options), ctypes.POINTER(_P))),
    "odise_close": (None, (_P,)),
    "odise_set_table": (ctypes.c_int, (_P, ctypes.c_char_p)),
    "odise_set_words": (ctypes.c_int, (_P, ctypes.POINTER(Words), ctypes.c_size_t)),
    "odise_segment": (
        ctypes.c_int,
        (_P, ctypes.POINTER(Image), ctypes.c_uint32, ctypes.POINTER(Request), ctypes.POINTER(_P)),
    ),
    "odise_result_free": (None, (_P,)),
    "odise_extract": (ctypes.c_int, (_P, ctypes.POINTER(Image), ctypes.POINTER(_P))),
    "odise_extract_maps": (
        ctypes.c_int,
        (_P, ctypes.POINTER(Image), ctypes.POINTER(MapsRequest), ctypes.POINTER(_P)),
    ),
    "odise_features_width": (ctypes.c_int32, (_P,)),
    "odise_features_height": (ctypes.c_int32, (_P,)),
    "odise_features_maps": (ctypes.c_size_t, (_P,)),
    "odise_features_map": (ctypes.c_int, (_P, ctypes.c_size_t, ctypes.POINTER(Map))),
    "odise_features_free": (None, (_P,)),
    "odise_result_width": (ctypes.c_int32, (_P,)),
    "odise_result_height": (ctypes.c_int32, (_P,)),
    "odise_result_panoptic": (ctypes.POINTER(ctypes.c_int32), (_P,)),
    "odise_result_semantic": (ctypes.POINTER(ctypes.c_int32), (_P,)),
    "odise_result_panoptic_on_gpu": (ctypes.c_void_p, (_P,)),
    "odise_result_semantic_on_gpu": (ctypes.c_void_p, (_P,)),
    "odise_result_note": (ctypes.c_char_p, (_P,)),
    "odise_result_segments": (ctypes.c_size_t, (_P,)),
    "odise_result_segment": (ctypes.c_int, (_P, ctypes.c_size_t, ctypes.POINTER(Region))),
    "odise_result_instances": (ctypes.c_size_t, (_P,)),
    "odise_result_instance": (ctypes.c_int, (_P, ctypes.c_size_t, ctypes.POINTER(Region))),
    "odise_result_instance_mask": (ctypes.POINTER(ctypes.c_uint8), (_P, ctypes.c_size_t)),
    "odise_result_categories": (ctypes.c_size_t, (_P,)),
    "odise_result_category": (ctypes.c_int, (_P, ctypes.c_size_t, ctypes.POINTER(Category))),
    "odise_result_timings": (ctypes.c_size_t, (_P,)),
    "odise_result_timing": (
        ctypes.c_int,
        (_P, ctypes.c_size_t, ctypes.POINTER(ctypes.c_char_p), ctypes.POINTER(ctypes.c_double)),
    ),
}


class Library:
    """The functions of libodise_trt."""

    def __init__(self, path: Path) -> None:
        self.functions = ctypes.CDLL(str(path))
        for name, (returns, takes) in _SIGNATURES.items():
            function = getattr(self.functions, name)
            function.restype, function.argtypes = returns, takes

    def __getattr__(self, name: str) -> Any:
        return getattr(self.functions, f"odise_{name}")

    @property
    def engine_names(self) -> list[str]:
        return str(self.engines().decode()).split(",")

    def check(self, status: int) -> None:
        if status != 0:
            words = (self.last_message(), self.last_hint(), self.last_error())
            message, hint, whole = (word.decode() for word in words)
            raise OdiseError(status, self.status_name(status).decode(), message, hint, whole)

    def open(self, folder: Path | str, **options: Any) -> Segmenter:
        handle = _P()
        if "engine" in options:
            options["engine"] = options["engine"].encode()
        self.check(self.functions.odise_open(str(folder).encode(), Options(**options), ctypes.byref(handle)))
        return Segmenter(self, handle)


class Segmenter:
    """A segmenter of the library. It is a context manager."""

    def __init__(self, library: Library, handle: Any) -> None:
        self.library, self.handle = library, handle

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.library.close(self.handle)
        self.handle = None

    def set_table(self, path: Path) -> None:
        self.library.check(self.library.set_table(self.handle, str(path).encode()))

    def set_words(self, categories: Sequence[tuple[Sequence[str], bool]]) -> None:
        given = (Words * len(categories))()
        for one, (names, isthing) in zip(given, categories, strict=True):
            array = (ctypes.c_char_p * len(names))(*(name.encode() for name in names))
            one.names = ctypes.cast(array, ctypes.POINTER(ctypes.c_char_p))
            one.count, one.isthing = len(names), isthing
        self.library.check(self.library.set_words(self.handle, given, len(given)))

    def features(self, pixels: np.ndarray) -> dict[str, tuple[np.ndarray, int]]:
        """Name -> map (C, h, w) and stride, of what `odise_extract` gives."""
        handle = _P()
        self.library.check(self.library.extract(self.handle, image_of(pixels), ctypes.byref(handle)))
        return self._maps(handle).maps

    def maps(
        self,
        image: np.ndarray | Image,
        names: str | Sequence[str] | None = None,
        *,
        time_step: int = 0,
        short_side: int = 0,
        max_side: int = 0,
    ) -> Features:
        """What `odise_extract_maps` gives. The arguments are those of Python's `Segmenter.features`."""
        request = MapsRequest(time_step=time_step, short_side=short_side, max_side=max_side)
        if names is not None:
            given = [name.encode() for name in ([names] if isinstance(names, str) else names)]
            request.names, request.count = (ctypes.c_char_p * max(len(given), 1))(*given), len(given)
        picture = image if isinstance(image, Image) else image_of(image)
        handle = _P()
        self.library.check(
            self.library.extract_maps(self.handle, picture, ctypes.byref(request), ctypes.byref(handle))
        )
        return self._maps(handle)

    def _maps(self, handle: Any) -> Features:
        """Copy the maps, and free them."""
        found = {}
        for number in range(self.library.features_maps(handle)):
            one = Map()
            self.library.check(self.library.features_map(handle, number, ctypes.byref(one)))
            shape = (one.channels, one.height, one.width)
            found[one.name.decode()] = (np.ctypeslib.as_array(one.data, shape).copy(), one.stride)
        size = self.library.features_height(handle), self.library.features_width(handle)
        self.library.features_free(handle)
        return Features(found, size)

    def segment(self, pixels: np.ndarray, *tasks: str, bgr: bool = False, **thresholds: float) -> Result:
        """Segment a picture uint8 (H, W, 3), of any stride along its rows."""
        height, width, _ = pixels.shape
        assert pixels.strides[1:] == (3, 1)
        image = Image(
            data=pixels.ctypes.data, width=width, height=height, stride=pixels.strides[0], format=int(bgr)
        )
        with self.result(image, *tasks, **thresholds) as handle:
            return self.copied(handle)

    @contextmanager
    def result(self, image: Image, *tasks: str, ids: int = 0, **thresholds: float) -> Iterator[Any]:
        """A result as the library has it. `ids`: an odise_memory."""
        wanted = sum(TASKS[task] for task in tasks or ("panoptic",))
        request = None
        if thresholds or ids:
            request = Request(
                **{"overlap_threshold": -1.0, "object_mask_threshold": -1.0} | thresholds, ids=ids
            )
        handle = _P()
        self.library.check(self.library.segment(self.handle, image, wanted, request, ctypes.byref(handle)))
        try:
            yield handle
        finally:
            self.library.result_free(handle)

    def copied(self, handle: Any) -> Result:
        library = self.library
        shape = (library.result_height(handle), library.result_width(handle))

        def array(pointer: Any) -> np.ndarray | None:
            return np.ctypeslib.as_array(pointer, shape).copy() if pointer else None

        objects = range(library.result_instances(handle))
        masks = [array(library.result_instance_mask(handle, number)) for number in objects]
        return Result(
            array(library.result_panoptic(handle)),
            array(library.result_semantic(handle)),
            self._regions(handle, library.result_segments(handle), library.result_segment),
            self._regions(handle, len(masks), library.result_instance),
            [mask.astype(bool) for mask in masks if mask is not None],
            self._categories(handle),
            self._timings(handle),
            library.result_note(handle).decode(),
        )

    def _regions(self, handle: Any, count: int, read: Any) -> list[Segment]:
        found = []
        for number in range(count):
            region = Region()
            self.library.check(read(handle, number, ctypes.byref(region)))
            box = region.x, region.y, region.width, region.height
            name = region.name.decode()
            found.append(
                Segment(
                    region.id, region.category_id, name, bool(region.isthing), region.score, region.area, box
                )
            )
        return found

    def _categories(self, handle: Any) -> list[tuple[str, bool]]:
        found = []
        for number in range(self.library.result_categories(handle)):
            category = Category()
            self.library.check(self.library.result_category(handle, number, ctypes.byref(category)))
            found.append((category.name.decode(), bool(category.isthing)))
        return found

    def _timings(self, handle: Any) -> list[tuple[str, float]]:
        found = []
        for number in range(self.library.result_timings(handle)):
            name, seconds = ctypes.c_char_p(), ctypes.c_double()
            self.library.check(
                self.library.result_timing(handle, number, ctypes.byref(name), ctypes.byref(seconds))
            )
            assert name.value is not None
            found.append((name.value.decode(), seconds.value))
        return found

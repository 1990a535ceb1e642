"""The structures of odise_trt.h, for ctypes."""

from __future__ import annotations

import ctypes
from typing import Any


class _Sized(ctypes.Structure):
    """A structure that begins with its size."""

    def __init__(self, **values: Any) -> None:
        super().__init__(size=ctypes.sizeof(type(self)), **values)


class Options(_Sized):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("engine", ctypes.c_char_p),
        ("threads", ctypes.c_int32),
        ("verify_sizes_only", ctypes.c_int32),
        ("max_windows", ctypes.c_int32),
        ("graphs_only", ctypes.c_int32),
        ("gpu", ctypes.c_int32),
    )


class Image(_Sized):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("stride", ctypes.c_int64),
        ("format", ctypes.c_int32),
        ("memory", ctypes.c_int32),
        ("stream", ctypes.c_void_p),
    )


class Request(_Sized):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("overlap_threshold", ctypes.c_double),
        ("object_mask_threshold", ctypes.c_double),
        ("ids", ctypes.c_int32),
    )


class Words(ctypes.Structure):
    """The names of a category. It has no size."""

    _fields_ = (
        ("names", ctypes.POINTER(ctypes.c_char_p)),
        ("count", ctypes.c_size_t),
        ("isthing", ctypes.c_int32),
    )


class MapsRequest(_Sized):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("names", ctypes.POINTER(ctypes.c_char_p)),
        ("count", ctypes.c_size_t),
        ("time_step", ctypes.c_int32),
        ("short_side", ctypes.c_int32),
        ("max_side", ctypes.c_int32),
    )


class Map(_Sized):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("name", ctypes.c_char_p),
        ("data", ctypes.POINTER(ctypes.c_float)),
        ("channels", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("stride", ctypes.c_int32),
    )


class Category(_Sized):
    _fields_ = (("size", ctypes.c_size_t), ("name", ctypes.c_char_p), ("isthing", ctypes.c_int32))


class Region(_Sized):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("id", ctypes.c_int32),
        ("category_id", ctypes.c_int32),
        ("name", ctypes.c_char_p),
        ("isthing", ctypes.c_int32),
        ("score", ctypes.c_float),
        ("area", ctypes.c_int64),
        ("x", ctypes.c_int32),
        ("y", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
    )

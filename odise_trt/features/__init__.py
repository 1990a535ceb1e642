"""Feature maps of an image: their names, the maps, and the file they are saved in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_names

if TYPE_CHECKING:
    from .maps import Features

__all__ = ["Features"]

__getattr__, __dir__ = lazy_names(__name__, {"Features": ".maps"})

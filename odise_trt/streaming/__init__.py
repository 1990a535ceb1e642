"""Many pictures through one chain: read ahead, begun before others have finished, given in order."""

from .item import Streamed
from .prepared import Prepared, prepare
from .reader import Reader
from .sources import sources_of
from .stream import OpenStreams, Stream

__all__ = ["OpenStreams", "Prepared", "Reader", "Stream", "Streamed", "prepare", "sources_of"]

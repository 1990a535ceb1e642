"""The official forward pass, and every intermediate tensor on record: what the model is compared with.

The oracle calls the model's parts; the model knows nothing of it.
"""

from .segment import Traced, segment_official, segment_pyramid_traced, segment_traced
from .trace import Taps, Way

__all__ = ["Taps", "Traced", "Way", "segment_official", "segment_pyramid_traced", "segment_traced"]

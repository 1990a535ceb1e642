"""The official forward pass, with a record of every intermediate tensor. The model is compared with it.

The oracle imports the parts of the model. The model does not import the oracle.
"""

from .segment import Traced, segment_official, segment_pyramid_traced, segment_traced
from .trace import Taps, Way

__all__ = ["Taps", "Traced", "Way", "segment_official", "segment_pyramid_traced", "segment_traced"]

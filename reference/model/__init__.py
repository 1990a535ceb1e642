"""The model: `ODISE`, its stages and what they are made of, each under its official parameter names."""

from .odise import ODISE
from .segmentation import Segmentation

__all__ = ["ODISE", "Segmentation"]

"""ODISE open-vocabulary segmentation on ONNX Runtime or TensorRT, without torch.

    with Segmenter.open("engines/demo-onnxruntime-fp32") as segmenter:
        segmenter.vocabulary = Vocabulary.parse("purse, handbag; table")
        result = segmenter("photo.jpg")

Importing this package imports no backend. Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import (
    ArgumentError,
    BackendError,
    BundleError,
    FeatureError,
    ImageError,
    OdiseError,
    OutputError,
    VocabularyError,
    VocabularyWarning,
)
from .lazy import lazy_names

if TYPE_CHECKING:
    from .bundle import Bundle
    from .features import Features
    from .result import Result
    from .segmenter import Segmenter
    from .segments import Instance, Segment
    from .streaming import Stream, Streamed
    from .vocabulary import Category, Vocabulary

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "BackendError",
    "Bundle",
    "BundleError",
    "Category",
    "FeatureError",
    "Features",
    "ImageError",
    "Instance",
    "OdiseError",
    "OutputError",
    "Result",
    "Segment",
    "Segmenter",
    "Stream",
    "Streamed",
    "Vocabulary",
    "VocabularyError",
    "VocabularyWarning",
    "__version__",
]

_HOMES = {
    "Bundle": ".bundle",
    "Category": ".vocabulary",
    "Features": ".features",
    "Instance": ".segments",
    "Result": ".result",
    "Segment": ".segments",
    "Segmenter": ".segmenter",
    "Stream": ".streaming",
    "Streamed": ".streaming",
    "Vocabulary": ".vocabulary",
}


__getattr__, __dir__ = lazy_names(__name__, _HOMES)

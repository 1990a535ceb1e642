"""Puts the weights of a graph into a TensorRT engine that was built without them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BackendError
from .tensorrt_engine import Flavour

if TYPE_CHECKING:
    import tensorrt as trt

_AGAIN = "build the stage again, or without --strip-weights"
_NAMES_SHOWN = 5


def refit(flavour: Flavour, engine: trt.ICudaEngine, logger: Any, path: Path, graph: Path) -> None:
    """Give an engine its weights. It must have no execution context yet, and the GPU must be the current one.

    Args:
        flavour: of the engine. Its messages explain what fails.
        engine: built with `BuilderFlag.STRIP_PLAN`.
        logger: of the flavour.
        path: file of the engine, for messages.
        graph: the ONNX file that it was built from, with its external data beside it.

    Raises:
        BackendError: the engine does not take the weights, or the graph lacks some. The message names them.
    """
    module = flavour.module
    if not engine.refittable:
        return  # It was not stripped, so it has its weights.
    try:
        refitter = module.Refitter(engine, logger)
        # The parser owns the weights. It must exist until they are in the engine.
        parser = module.OnnxParserRefitter(refitter, logger)
    # The constructors return null if they fail, and the binding raises TypeError.
    except (TypeError, RuntimeError) as error:
        raise BackendError(f"{path} cannot be given weights: {flavour.said(error)}", _AGAIN) from error
    if not refitter.get_all_weights():
        return  # It needs none: some stages only resize and add.
    # It succeeds only if the graph has all weights of the engine. `get_missing_weights` is no proof of that:
    # TensorRT for RTX may leave some out, https://github.com/pytorch/TensorRT/pull/4198.
    done = parser.refit_from_file(os.fspath(graph))
    missing = refitter.get_missing_weights()
    if not done or missing or not refitter.refit_cuda_engine():
        lacks = f", which lacks {_listed(missing)}" if missing else ""
        why = f": {flavour.said()}" if flavour.messages or not missing else ""
        raise BackendError(f"{path} does not get its weights from {graph.name}{lacks}{why}", _AGAIN)


def _listed(names: list[str]) -> str:
    shown = ", ".join(name or "one without a name" for name in names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown

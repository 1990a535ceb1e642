"""Engines of TensorRT without weights. `odise_trt.backends.tensorrt_refit` gives them theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from odise_trt.backends.cuda import open_cuda
from odise_trt.errors import BackendError

if TYPE_CHECKING:
    import tensorrt as trt


def strip(flavour: Any, config: trt.IBuilderConfig) -> None:
    """Leave the weights out of an engine. It takes the same weights again, and no others."""
    config.set_flag(flavour.BuilderFlag.STRIP_PLAN)
    # Not REFIT, which is for other weights. The documentation of TensorRT 11.3 warns that it can lose biases.
    config.set_flag(flavour.BuilderFlag.REFIT_IDENTICAL)


def require_gpu(name: str, version: str) -> None:
    """Raise BackendError if TensorRT for RTX finds no GPU.

    It builds other engines without one. Engines that can be refitted, with or without weights, end in
    "graph_jit.cpp:278: CHECK(status == CUDA_SUCCESS) failed" (1.7.1.116), whatever they are built for.
    """
    try:
        open_cuda().close()
    except BackendError as error:
        raise BackendError(
            f"{name} {version} leaves weights out only where it finds a GPU: without one its compiler fails"
            f" with an internal error ({error.message})",
            "leave --strip-weights out, or build on a machine with a GPU",
        ) from error

"""The way of a picture through the stages, as data that Python, C++ and Triton read from a manifest."""

from .step import Pipeline, Step

__all__ = ["Pipeline", "Step"]

"""A bundle on disk: its manifest, its files, and the folder it is written to."""

from .bundle import Bundle, BundleWriter

__all__ = ["Bundle", "BundleWriter"]

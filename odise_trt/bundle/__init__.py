"""A bundle on disk: its manifest, its files, and the place it is put into."""

from .bundle import Bundle, BundleWriter

__all__ = ["Bundle", "BundleWriter"]

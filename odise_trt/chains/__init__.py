"""What happens between a resized picture and its results: by numpy and engines, or by engines alone."""

from .base import Chain, Job, Outcome, Pending, Picture
from .host import HostChain

__all__ = ["Chain", "HostChain", "Job", "Outcome", "Pending", "Picture"]

"""What happens between a resized picture and its results: by numpy and engines, or by engines alone."""

from .base import Chain, Job, Outcome, Pending, Picture
from .choose import open_chain

__all__ = ["Chain", "Job", "Outcome", "Pending", "Picture", "open_chain"]

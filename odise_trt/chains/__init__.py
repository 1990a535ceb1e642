"""What happens between a resized picture and its results: by numpy and engines, or by engines alone."""

from .base import PLACES, Chain, Job, Outcome, Pending, Picture, Place
from .choose import open_chain

__all__ = ["PLACES", "Chain", "Job", "Outcome", "Pending", "Picture", "Place", "open_chain"]

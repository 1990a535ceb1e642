"""One module per kind of file: what is in it, under official names.

A checkpoint of ODISE, Stable Diffusion as one file or as a folder of diffusers, and CLIP in three layouts.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from reference.convert.expected import Expected
from reference.convert.sources.clip import clip
from reference.convert.sources.diffusers_folder import diffusers_folder
from reference.convert.sources.odise import odise
from reference.convert.sources.source import Source
from reference.convert.sources.stable_diffusion import stable_diffusion
from reference.download.reporter import Reporter
from reference.foreign import open_weights

__all__ = ["Source", "open_clip", "open_odise", "open_stable_diffusion"]


def open_odise(path: Path, expected: Expected, reporter: Reporter, stack: ExitStack) -> Source:
    """Open a checkpoint of ODISE; `stack` holds it open. See `odise.odise`."""
    return odise(stack.enter_context(open_weights(path)), path, expected, reporter)


def open_stable_diffusion(path: Path, expected: Expected, reporter: Reporter, stack: ExitStack) -> Source:
    """Open Stable Diffusion as one file, or as a folder of diffusers; `stack` holds it open."""
    if path.is_dir():
        return diffusers_folder(path, expected, reporter, stack)
    return stable_diffusion(stack.enter_context(open_weights(path)), path, expected, reporter)


def open_clip(
    path: Path, expected: Expected, reporter: Reporter, stack: ExitStack, work: Path | None = None
) -> Source:
    """Open CLIP; `stack` holds it open. See `clip.clip`.

    Args:
        work: a folder for a temporary copy of OpenAI's archive, 0.9 GB. None: the system's.
    """
    return clip(stack.enter_context(open_weights(path, work)), path, expected, reporter)
